"""The forms of real clients pass, and the resource finds in them the model that was authorized."""
import shutil
import subprocess

import httpx
import pytest
import requests  # azure-identity brings it along

from harness import PATIENCE
from steps import with_objects
from test_hostile import names

SOUND = b"RIFF\r\n--\r\n\n--x\r" + bytes(range(256))
PATH = "/openai/v1/audio/transcriptions"

NODE = """
const [url, token, path] = process.argv.slice(1);
const form = new FormData();
form.append("model", "whisper");
form.append("file", new Blob([require("fs").readFileSync(path)], {type: "audio/webm;codecs=opus"}), "a b.webm");
form.append("timestamp_granularities[]", "word");
fetch(url, {method: "POST", headers: {authorization: "Bearer " + token}, body: form})
    .then(async r => console.log(r.status, await r.text()));
"""

GO = """
package main

import ("bytes"; "fmt"; "io"; "mime/multipart"; "net/http"; "os")

func main() {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("model", "whisper")
	part, _ := form.CreateFormFile("file", "a b.wav")
	sound, _ := os.ReadFile(os.Args[3])
	part.Write(sound)
	form.Close()
	ask, _ := http.NewRequest("POST", os.Args[1], &body)
	ask.Header.Set("Authorization", "Bearer " + os.Args[2])
	ask.Header.Set("Content-Type", form.FormDataContentType())
	answer, err := http.DefaultClient.Do(ask)
	if err != nil { panic(err) }
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, string(text))
}
"""


@pytest.fixture
def gw(shared_stack):
    return shared_stack(change=with_objects)


def run(*words, timeout=PATIENCE):
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=True).stdout


def by_httpx(url, token, sound):
    answer = httpx.post(url, headers={"authorization": f"Bearer {token}"}, data={"model": "whisper"}, trust_env=False,
                        files={"file": ("ä b.wav", sound.read_bytes(), "audio/wav")}, timeout=PATIENCE)
    return f"{answer.status_code} {answer.text}"


def by_requests(url, token, sound):
    session = requests.Session()
    session.trust_env = False
    answer = session.post(url, headers={"authorization": f"Bearer {token}"}, data={"model": "whisper", "language": "en"},
                          files={"file": ("ä.wav", sound.read_bytes())}, timeout=PATIENCE)
    return f"{answer.status_code} {answer.text}"


def by_curl(url, token, sound):
    return run("curl", "-sS", "--noproxy", "*", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token}",
               "-F", "model=whisper", "-F", f"file=@{sound};filename=a b.wav;type=audio/wav", "-F", "language=en", url)


def by_node(url, token, sound):
    return run("node", "-e", NODE, url, token, str(sound))


def by_go(url, token, sound):
    source = sound.with_name("main.go")
    source.write_text(GO)
    program = sound.with_name("ask")
    run("go", "build", "-o", str(program), str(source), timeout=10 * PATIENCE)  # compiles net/http the first time
    return run(str(program), url, token, str(sound))


CLIENTS = [by_httpx, by_requests, by_curl, *(by for by in (by_node, by_go) if shutil.which(by.__name__[3:]))]


@pytest.mark.parametrize("ask", CLIENTS, ids=lambda f: f.__name__[3:])
def test_form_of_a_client(gw, tmp_path, ask):
    sound = tmp_path / "sound"
    sound.write_bytes(SOUND)
    answer = ask(f"http://127.0.0.1:{gw.ports['http']}{PATH}", gw.token(), sound)
    assert "200" in answer and "Hello there." in answer, answer
    (seen,) = [r for r in gw.sim.requests() if r["path"].endswith("/audio/transcriptions")]
    assert names(seen) == ["whisper"]
