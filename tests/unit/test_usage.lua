-- Tests of lua/usage.lua, with lua5.3 and lua5.4:
--
--   lua5.4 tests/unit/test_usage.lua [path of usage.lua]
--
-- HAProxy is played by this file: it hands each answer to the filter whole,
-- cut in two at every byte, and byte by byte, and wants the same variables.

local class, logged, poll, asked_again
local converter = {}
local agent = {} -- what it answers: a list of pieces for the socket
local clock_ms = 0 -- each piece of an answer comes 100 ms behind the last
core = {
	err = 3, warning = 4, notice = 5,
	now = function()
		return { sec = clock_ms // 1000, usec = clock_ms % 1000 * 1000 }
	end,
	log = function(_, text) logged = text end,
	register_filter = function(_, c) class = c end,
	register_converters = function(name, f) converter[name] = f end,
	register_task = function(f) poll = coroutine.wrap(f) end,
	msleep = function() coroutine.yield() end,
	tcp = function() return agent.socket() end,
}
filter = {
	FLT_CFG_FL_HTX = 1,
	CONTINUE = 1,
	register_data_filter = function(f) f.armed = true end,
	wake_time = function(ms) asked_again = ms end,
}

local here = arg[0]:match("^(.*)/[^/]*$") or "."
dofile(arg[1] or here .. "/../../lua/usage.lua")

local SSE, JSON = "text/event-stream; charset=utf-8", "application/json"

-- Sends chunks through a filter as an answer; returns the variables set.
local function run(kind, chunks, options)
	local o = options or {}
	local vars, now, over, passed_on = {}, nil, false, {}
	local txn = {
		set_var = function(_, k, v) vars[k] = v end,
		get_var = function(_, k) return o[k] end,
	}
	local function message(resp)
		return {
			channel = { is_resp = function() return resp end },
			is_resp = function() return resp end,
			get_stline = function()
				return { code = tostring(o.status or 200) }
			end,
			get_headers = function()
				return { ["content-type"] = kind and { [0] = kind } }
			end,
			body = function()
				if o.fail then error("body is broken") end
				return now
			end,
			eom = function() return now == nil and over end,
			remove = function(_, from, n)
				now = now:sub(1, from) .. now:sub(from + n + 1)
			end,
			insert = function(_, text, at)
				if o.full then return 0 end
				now = now or ""
				now = now:sub(1, at) .. text .. now:sub(at + 1)
				return #text
			end,
		}
	end
	local f = class:new()
	local req, res = message(false), message(true)
	local function pass(msg, chunk)
		now = chunk
		if chunk then clock_ms = clock_ms + 100 end
		f:http_payload(txn, msg)
		if now then passed_on[#passed_on + 1] = now end
	end
	assert(f:http_headers(txn, req) == 1)
	for _, chunk in ipairs(o.request or {}) do
		pass(req, chunk)
		pass(req, nil)
	end
	f:end_analyze(txn, req.channel)
	assert(f:http_headers(txn, res) == 1)
	for _, chunk in ipairs(chunks) do
		pass(res, chunk)
		pass(res, nil) -- HAProxy often calls again with nothing
	end
	over = true
	pass(res, nil)
	f:end_analyze(txn, res.channel)
	return vars, f, table.concat(passed_on)
end

local passed, failed = 0, 0

local function check(name, ok, detail)
	if ok then
		passed = passed + 1
	else
		failed = failed + 1
		print("FAIL " .. name .. ": " .. detail)
	end
end

local function differs(vars, want)
	for _, k in ipairs { "usage", "usage_first", "events" } do
		local got = vars["txn.gw." .. k]
		if got ~= want[k] then
			return k .. " is " .. tostring(got) .. ", not " ..
				tostring(want[k])
		end
	end
	if logged then return "logged: " .. logged end
end

-- Calls try with the body whole, cut in two at every byte (of a large one at
-- 100 places), and byte by byte; returns what it says first.
local function every_way(body, try)
	local wrong = try({ body })
	local step = #body > 10000 and #body // 100 or 1
	for i = 1, #body - 1, step do
		if wrong then break end
		wrong = try({ body:sub(1, i), body:sub(i + 1) })
		wrong = wrong and wrong .. " (cut at " .. i .. ")"
	end
	if not wrong and #body <= 10000 then
		local bytes = {}
		for i = 1, #body do bytes[i] = body:sub(i, i) end
		wrong = try(bytes)
		wrong = wrong and wrong .. " (byte by byte)"
	end
	return wrong
end

-- Every way to cut the body must give the same answer, and change nothing.
local function expect(name, kind, body, want)
	logged = nil
	local wrong = every_way(body, function(pieces)
		local vars, _, passed_on = run(kind, pieces)
		if passed_on ~= body then return "the body was changed" end
		return differs(vars, want)
	end)
	check(name, not wrong, wrong or "")
end

-- ---- what the services send

local chat_usage = '{"completion_tokens":220,"completion_tokens_details":' ..
	'{"accepted_prediction_tokens":0,"reasoning_tokens":0},' ..
	'"prompt_tokens":168,"prompt_tokens_details":{"cached_tokens":0},' ..
	'"total_tokens":388}'
local filtered = 'data: {"choices":[],"created":0,"id":"",' ..
	'"prompt_filter_results":[{"prompt_index":0,"content_filter_results":' ..
	'{"hate":{"filtered":false,"severity":"safe"}}}]}\n\n'
local function delta(text)
	return 'data: {"choices":[{"delta":{"content":"' .. text ..
		'"},"finish_reason":null,"index":0}],"usage":null}\n\n'
end
local last = 'data: {"choices":[],"id":"c","usage":' .. chat_usage .. '}\n\n'
local chat = filtered .. delta(" answer") .. delta("") .. last ..
	"data: [DONE]\n\n"

-- The first piece of the answer itself, wherever the chunks end.
for want, pieces in pairs {
	[100] = { delta("a") },
	[200] = { filtered, delta("a"), delta("b") },
	[300] = { filtered, 'data: {"choices":[{"del', 'ta":{"content":"a"}}]}\n\n' },
	[1200] = { ":", ":", ":", ":", ":", ":", ":", ":", ":", "\n", filtered,
		'data: {"type":"response.output_text.delta","delta":"a"}\n\n' },
} do
	local got = run(SSE, pieces)["txn.gw.token_ms"]
	check("first token after " .. want .. " ms", got == want, tostring(got))
end
for name, kind in pairs { ["no delta"] = SSE, ["no stream"] = JSON } do
	local body = kind == SSE and filtered or delta("a")
	local got = run(kind, { body })["txn.gw.token_ms"]
	check("first token: " .. name, got == nil, tostring(got))
end

expect("chat stream", SSE, chat, { usage = chat_usage, events = 5 })
expect("chat stream with CRLF", SSE, (chat:gsub("\n", "\r\n")),
	{ usage = chat_usage, events = 5 })
expect("chat stream without blanks behind data:", SSE,
	(chat:gsub("data: ", "data:")), { usage = chat_usage, events = 5 })
expect("chat stream without a final newline", SSE, (last:gsub("\n", "")),
	{ usage = chat_usage, events = 1 })
expect("comments and blanks at line ends", SSE,
	": ping\n\n" .. chat:gsub("\n\n", " \n\n"),
	{ usage = chat_usage, events = 5 })
expect("chat stream without usage", SSE, delta("a") .. "data: [DONE]\n\n",
	{ events = 2 })
expect("the last of several usages", SSE,
	'data: {"usage":{"total_tokens":1}}\n\n' .. last,
	{ usage = chat_usage, events = 2 })
expect("usage null behind a usage", SSE, last .. delta("x"),
	{ usage = chat_usage, events = 2 })
expect("data: inside text is no event", SSE, delta("data: data:"),
	{ events = 1 })

local responses_usage = '{"input_tokens":37,"output_tokens":11,' ..
	'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":48}'
local function response(kind, output, usage, metadata)
	return "event: response." .. kind .. "\n" ..
		'data: {"type":"response.' .. kind .. '","response":{"id":"r",' ..
		'"instructions":null,"output":[' .. output .. '],"tools":[' ..
		'{"type":"function","parameters":{"properties":{"usage":' ..
		'{"total_tokens":2}}}}],"usage":' .. usage ..
		',"user":null,"metadata":{' .. (metadata or "") .. "}}}\n\n"
end
expect("responses stream", SSE, response("created", "", "null") ..
	response("completed", '{"text":"Hi [] {} \\"usage\\":{\\"a\\":1}"}',
	responses_usage), { usage = responses_usage, events = 2 })
expect("large text before and behind the usage", SSE,
	response("completed", '{"text":"' .. ("x"):rep(150000) .. '"}',
	responses_usage, '"k":"' .. ('\\"usage\\":{}'):rep(4000) .. '"'),
	{ usage = responses_usage, events = 1 })
expect("failed response", SSE, response("failed", "", "null"),
	{ events = 1 })

local image = 'data: {"type":"image_generation.completed","b64_json":"' ..
	("QUJD"):rep(300000) .. '","usage":{"total_tokens":100}}\n\n'
expect("usage behind a megabyte", SSE, image,
	{ usage = '{"total_tokens":100}', events = 1 })

expect("transcription stream", SSE, 'data: {"type":"transcript.text.delta",' ..
	'"delta":" of","logprobs":[{"token":" of","logprob":-1.9361265e-7,' ..
	'"bytes":[32,111,102]}]}\n\ndata: {"type":"transcript.text.done",' ..
	'"text":"I see","logprobs":[{"bytes":[32]}],"usage":{"type":"tokens",' ..
	'"input_tokens":14,"input_token_details":{"text_tokens":0,' ..
	'"audio_tokens":14},"output_tokens":45,"total_tokens":59}}\n\n',
	{ events = 2, usage = '{"type":"tokens","input_tokens":14,' ..
	'"input_token_details":{"text_tokens":0,"audio_tokens":14},' ..
	'"output_tokens":45,"total_tokens":59}' })
expect("speech stream", SSE, 'data: {"type":"speech.audio.delta","audio":"' ..
	("QUJD"):rep(500) .. '"}\n\ndata: {"type":"speech.audio.done","usage":' ..
	'{"input_tokens":14,"output_tokens":101,"total_tokens":115}}\n\n',
	{ events = 2, usage =
	'{"input_tokens":14,"output_tokens":101,"total_tokens":115}' })
expect("annotations behind finish_reason", SSE, delta("a") ..
	'data: {"id":"","choices":[{"index":0,"finish_reason":null,' ..
	'"content_filter_offsets":{"check_offset":44}}],"usage":null} \n\n' ..
	last .. 'data: {"choices":[{"index":0,"content_filter_offsets":' ..
	'{"check_offset":506}}],"usage":null} \n\ndata: [DONE]\n\n',
	{ usage = chat_usage, events = 5 })
expect("json image", JSON, '{"created":1,"data":[{"b64_json":"' ..
	("QUJD"):rep(300000) .. '"}],"usage":{"total_tokens":100}}',
	{ usage = '{"total_tokens":100}' })
expect("json transcription by duration", JSON, '{"text":"a",' ..
	'"usage":{"type":"duration","seconds":9}}',
	{ usage = '{"type":"duration","seconds":9}' })

local start = 'event: message_start\ndata: {"type":"message_start",' ..
	'"message":{"id":"m","content":[],"usage":{"input_tokens":11,' ..
	'"cache_creation":{"ephemeral_5m_input_tokens":0},' ..
	'"output_tokens":1}}               }\n\n'
local started = '{"input_tokens":11,"cache_creation":' ..
	'{"ephemeral_5m_input_tokens":0},"output_tokens":1}'
local block = 'event: content_block_delta\ndata: {"type":' ..
	'"content_block_delta","index":0,"delta":{"type":"text_delta",' ..
	'"text":"Hello"}}\n\n'
local stop = 'event: message_delta\ndata: {"type":"message_delta","delta":' ..
	'{"stop_reason":"end_turn"},"usage":{"output_tokens":6,"iterations":[' ..
	'{"output_tokens":6}]}    }\n\nevent: message_stop\n' ..
	'data: {"type":"message_stop"      }'
expect("anthropic stream", SSE, start .. block .. stop, { events = 4,
	usage = '{"output_tokens":6,"iterations":[{"output_tokens":6}]}',
	usage_first = started })
expect("anthropic stream that begins with a ping", SSE,
	'event: ping\ndata: {"type": "ping"}\n\n' .. start .. block,
	{ events = 3, usage_first = started })
expect("anthropic stream, the client hung up", SSE, start .. block,
	{ events = 2, usage_first = started })

expect("json", JSON, '{"choices":[{"message":{"content":"a"}}],"usage":' ..
	chat_usage .. '}\n', { usage = chat_usage })
expect("json over many lines", JSON, '{\n  "data": [\n    1.5\n  ],\n' ..
	'  "usage" : \r\n\t{\n    "prompt_tokens": 8\n  }\n}\n',
	{ usage = '{\n    "prompt_tokens": 8\n  }' })
expect("json with usage first", JSON, '{"usage":{"a":1},"data":[[1],{}]}',
	{ usage = '{"a":1}' })
expect("json with charset", "Application/JSON; charset=utf-8",
	'{"usage":{"a":1}}', { usage = '{"a":1}' })
expect("json without usage", JSON, '{"error":{"code":"429"}}', {})
expect("an empty body", JSON, "", {})

-- ---- what should not fool it

expect("braces, quotes and backslashes in the usage", SSE,
	'data: {"usage":{"a":"}{][\\"","b\\\\":"\\\\","usage":{"x":1}}}\n\n',
	{ events = 1,
	  usage = '{"a":"}{][\\"","b\\\\":"\\\\","usage":{"x":1}}' })
expect("usage as escaped text", SSE, delta('\\"usage\\":{\\"a\\":1}') ..
	delta('usage":{') .. delta('\\\\'), { events = 3 })
expect("usage as the end of a longer name", SSE,
	'data: {"my_usage":{"a":1},"x\\"usage":{"a":1}}\n\n', { events = 1 })
expect("usage as a value", SSE,
	'data: {"type":"usage","x":{"a":1},"y":["usage",{"b":2}]}\n\n',
	{ events = 1 })
expect("usage of another type", SSE,
	'data: {"usage":1}\n\ndata: {"usage":[{"a":1}]}\n\n', { events = 2 })
expect("caller_schema_with_usage_then_hangup", SSE,
	response("created", "", "null"), { events = 1 })
expect("caller_schema_with_usage_behind_the_real_one", SSE,
	'data: {"usage":{"a":1},"tools":[{"p":{"usage":{"a":0}}}]}\n\n',
	{ usage = '{"a":1}', events = 1 })
expect("usage_three_levels_down", SSE,
	'data: {"response":{"metadata":{"usage":{"a":1}}}}\n\n', { events = 1 })
expect("json_usage_two_levels_down", JSON,
	'{"metadata":{"usage":{"a":1}}}', {})
local spoof = '{"prompt_tokens":1}'
for _, fake in ipairs { '"x"', "null", spoof, "[" .. spoof .. "]",
	'{"usage":' .. spoof .. "}" } do
	local metadata = '"metadata":{"usage":' .. fake .. '}'
	for name, text in pairs {
		before = "{" .. metadata .. ',"usage":{"a":1}}',
		behind = '{"usage":{"a":1},' .. metadata .. "}",
		between = '{"a":[{' .. metadata .. '}],"usage":{"a":1},"b":[{' ..
			metadata .. "}]," .. metadata .. "}",
	} do
		local what = "usage_in_metadata " .. name .. " " .. fake
		expect(what, JSON, text, { usage = '{"a":1}' })
		expect(what .. " of an event", SSE, "data: " .. text .. "\n\n",
			{ usage = '{"a":1}', events = 1 })
		expect(what .. " of a response", SSE,
			'data: {"type":"response.completed","sequence_number":9,' ..
			'"response":' .. text .. "}\n\n",
			{ usage = '{"a":1}', events = 1 })
		check(what .. " at once", converter.usage_of(text) ==
			'={"a":1}', converter.usage_of(text))
	end
	expect("usage_in_metadata alone " .. fake, JSON, "{" .. metadata .. "}",
		{})
	check("usage_in_metadata alone at once " .. fake,
		converter.usage_of("{" .. metadata .. "}") == "", "found")
end
for _, name in ipairs { "item", "metadata", "my_response", "part" } do
	expect("usage_of_" .. name .. "_in_an_event", SSE, last .. 'data: {"' ..
		name .. '":{"usage":' .. spoof .. "}}\n\n",
		{ usage = chat_usage, events = 2 })
end
expect("response_as_text_before_an_item", SSE,
	'data: {"delta":"\\"response\\":{","item":{"usage":' .. spoof .. "}}\n\n",
	{ events = 1 })
expect("usage_in_the_arguments_of_a_tool", SSE, last ..
	'data: {"type":"response.function_call_arguments.delta","delta":' ..
	'"{\\"usage\\":{\\"prompt_tokens\\":1}}"}\n\n' ..
	'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":' ..
	'"\\"usage\\":{\\"prompt_tokens\\":1}"}}]}}]}\n\n',
	{ usage = chat_usage, events = 3 })
local deep = ('{"usage":['):rep(5000) .. ("]}"):rep(5000)
check("usage behind 10,000 levels", converter.usage_of('{"tools":' .. deep ..
	',"usage":{"a":1},"metadata":{}}') == '={"a":1}', "not found")

local function id_of(body)
	local found
	local wrong = every_way(body, function(pieces)
		local vars = run(SSE, pieces, { ["txn.gw.makes"] = "id" })
		found = found or vars["txn.gw.object"] or "none"
		if (vars["txn.gw.object"] or "none") ~= found then
			return vars["txn.gw.object"] or "none"
		end
	end)
	return wrong and found .. " and " .. wrong or found
end
for text, want in pairs {
	['{"id":"resp_1","metadata":{"id":"resp_2"}}'] = "resp_1",
	['{"metadata":{"id":"resp_2"},"id":"resp_1"}'] = "resp_1",
	['{"tools":[{"id":"resp_2"}],"error":null,"id":"resp_1"}'] = "resp_1",
	['{"metadata":{"id":"resp_2"}}'] = "none",
	['{"text":"\\"id\\":\\"resp_2\\"","id":"resp_1"}'] = "resp_1",
} do
	local got = id_of('event: response.created\ndata: {"type":' ..
		'"response.created","response":' .. text .. "}\n\n")
	check("id of " .. text, got == want, got)
	got = id_of('data: {"item":{"id":"resp_2"},"response":' .. text ..
		"}\n\n")
	check("id behind an item of " .. text, got == want, got)
end

expect("message_start_as_text_in_another_stream", SSE,
	delta("message_start") .. 'data: {"response":{"usage":{"a":1}}}\n\n',
	{ usage = '{"a":1}', events = 2 })
local whole = response("completed", "", responses_usage)
expect("the line of the usage is cut off", SSE,
	whole:sub(1, -5), { events = 1 })
expect("a newline inside the usage", SSE,
	'data: {"usage":{"a":1,\ndata: "b":2}}\n\n', { events = 2 })
expect("a newline inside a string", SSE,
	'data: {"usage":{"a":"\n\n' .. last, { usage = chat_usage, events = 2 })

local function padded(n) -- a usage of n bytes
	return '{"a":"' .. ("x"):rep(n - 8) .. '"}'
end
expect("the largest usage", SSE, 'data: {"usage":' .. padded(8000) .. "}\n\n",
	{ usage = padded(8000), events = 1 })
expect("a usage that is too large", SSE,
	'data: {"usage":{"a":1}}\n\ndata: {"usage":' .. padded(8001) .. "}\n\n",
	{ events = 2 })
expect("only closing brackets", SSE, ("}]"):rep(500) .. "\n\n" .. last,
	{ usage = chat_usage, events = 1 })

-- ---- the extra chunk is taken out, and only that

local strip = { ["txn.gw.strip_usage"] = "1" }

-- `gone`: the text that must be missing in what the client gets.
local function expect_strip(name, body, gone, usage)
	local at = gone and body:find(gone, 1, true)
	local rest = at and body:sub(1, at - 1) .. body:sub(at + #gone) or body
	logged = nil
	local wrong = every_way(body, function(pieces)
		local vars, _, got = run(SSE, pieces, strip)
		if got ~= rest then return "the client got " .. got end
		if vars["txn.gw.usage"] ~= usage then
			return "usage is " .. tostring(vars["txn.gw.usage"])
		end
		if logged then return "logged: " .. logged end
	end)
	check("strip: " .. name, not wrong, wrong or "")
end

local annotation = 'data: {"choices":[{"index":0,"content_filter_offsets":' ..
	'{"check_offset":506}}],"usage":null} \n\n'
local function crlf(text) return (text:gsub("\n", "\r\n")) end
local done = "data: [DONE]\n\n"

expect_strip("azure's stream", chat, last, chat_usage)
expect_strip("CRLF", crlf(chat), crlf(last), chat_usage)
expect_strip("annotations behind finish_reason",
	filtered .. delta("a") .. annotation .. last .. done, last, chat_usage)
local openai = 'data: {"id":"c","object":"chat.completion.chunk","created":1' ..
	',"model":"m","choices":[],"usage":' .. chat_usage .. ',"x":"y"}\n\n'
expect_strip("members in another order", delta("a") .. openai .. done, openai,
	chat_usage)
local spaced = 'data:{ "choices" : [ ] , "usage" : ' .. chat_usage .. " } \n\n"
expect_strip("blanks", delta("a") .. spaced .. done, spaced, chat_usage)
expect_strip("no [DONE] and no last line end", delta("a") ..
	last:gsub("\n", ""), (last:gsub("\n", "")), chat_usage)
expect_strip("a stream that ends inside the chunk", delta("a") ..
	last:sub(1, 60))
expect_strip("nothing to take out", filtered .. delta("a") .. done)
expect_strip("the first chunk with filter results stays although it has usage",
	(filtered:gsub("}%]}\n", '}],"usage":{"a":1}}\n')) .. done, nil,
	'{"a":1}')
expect_strip("usage null", 'data: {"choices":[],"usage":null}\n\n' .. done)
expect_strip("usage beside choices", 'data: {"choices":[{"delta":{}}],' ..
	'"usage":{"a":1}}\n\n' .. done, nil, '{"a":1}')
expect_strip("the words as text of the model", delta(
	'\\"choices\\":[],\\"usage\\":{}') .. done)
expect_strip("the words deeper down", 'data: {"x":{"choices":[],"usage":{}},' ..
	'"choices":[{}],"y":"}]{\\\\"}\n\n' .. done)
expect_strip("another kind of line", 'event: x\nid: 1\n:' ..
	'{"choices":[],"usage":{"a":1}}\n\n' .. done, nil, '{"a":1}')
expect_strip("an empty line more than needed",
	delta("a") .. "\n" .. last .. "\n" .. done, last, chat_usage)
local large = ("x"):rep(9000)
expect_strip("a line too long to be held back", 'data: {"id":"' .. large ..
	'","choices":[{}]}\n\n' .. last .. done, last, chat_usage)
expect_strip("broken JSON", 'data: {"choices":[],"usage":{"a":"\n\n' .. done)
expect_strip("only brackets", "data: {" .. ("]}"):rep(30) ..
	'"choices":[]"usage":{' .. "\n\n" .. done)

local _, _, got = run(SSE, { chat })
check("a client that asked keeps its chunk", got == chat, got)
_, _, got = run(JSON, { '{"choices":[],"usage":{}}' }, strip)
check("json is not stripped", got == '{"choices":[],"usage":{}}', got)

-- What a chunk delays: nothing but itself.
local function arrives_with(name, pieces, want)
	local s = dofile(here .. "/../../lua/edits.lua").Strip.new()
	for i, piece in ipairs(pieces) do
		local out = s:feed(piece)
		check("at once: " .. name .. " " .. i, out == want[i], out)
	end
end
arrives_with("whole events", { filtered, delta("a"), last, done },
	{ filtered, delta("a"), "", done })
arrives_with("the beginning of another event",
	{ 'data: {"choices":[{"del', 'ta":{}}]', "}\n\n", "data: [DO", "NE]\n\n" },
	{ 'data: {"choices":[{"del', 'ta":{}}]', "}\n\n", "data: [DO", "NE]\n\n" })
arrives_with("the chunk in parts",
	{ delta("a") .. last:sub(1, 50), last:sub(51) .. done },
	{ delta("a"), done })

-- ---- edits of a request

local function edited(text, pieces, full)
	local ok, _, _, out = pcall(run, nil, {},
		{ ["txn.gw.edits"] = text, request = pieces, full = full })
	return ok and out
end

local function expect_edit(name, text, body, want)
	local wrong = every_way(body, function(pieces)
		local out = edited(text, pieces)
		if out ~= want then return "became " .. tostring(out) end
	end)
	check("edit: " .. name, not wrong, wrong or "")
end

expect_edit("insert at the beginning", "1,0,6:\"a\":1,", '{"b":2}',
	'{"a":1,"b":2}')
expect_edit("replace", "5,1,3:999", '{"b":2}', '{"b":999}')
expect_edit("remove", "5,7,0:", '{"b":0,"c":1}', '{"b":}')
expect_edit("several, also at one place", "1,0,2:xy1,3,1:z6,1,0:8,0,1:,",
	"{123456789", "{xyz457,89")
expect_edit("text that looks like edits", "1,0,9:1,0,3:abc", "{}",
	"{1,0,3:abc}")
check("no edits, no change", edited(nil, { "{}" }) == "{}", "changed")
for _, text in ipairs { "x", "1,0,5:abc", "1,0:", "-1,0,0:", "1,0,1:ab" } do
	check("malformed edits stop the request: " .. text,
		edited(text, { "{}" }) == false, "passed")
end
check("no room stops the request", edited("1,0,1:a", { "{}" }, true) == false,
	"passed")

-- ---- the filter around it

local _, f = run("audio/mpeg", { last })
check("other content is watched but not read", f.armed and not f.reader, "read")
_, f = run(nil, { last })
check("no content type", f.armed and not f.reader, "read")
local vars
vars, f = run(SSE, { last }, { status = 429 })
check("an error answer is not read", not f.armed and not next(vars), "read")
vars, f = run(SSE, { last }, { status = 100 })
check("100 Continue is no answer", not f.armed and not next(vars), "read")
logged = nil
vars = run(SSE, { last }, { fail = true })
check("a failure publishes nothing and is logged",
	not next(vars) and logged and logged:find("body is broken"),
	tostring(logged))

-- ---- a WebSocket: frames of RFC 6455, 5.2

-- first: FIN, opcode; form: 7, 16 or 64 bits of length.
local function frame(text, first, form)
	first = string.char(first or 0x81)
	form = form or #text < 126 and 7 or #text < 65536 and 16 or 64
	if form == 7 then return first .. string.char(#text) .. text end
	return first .. (form == 16 and string.pack(">BI2", 126, #text) or
		string.pack(">BI8", 127, #text)) .. text
end

local function websocket(pieces)
	local vars, now = {}, nil
	local channel = { is_resp = function() return true end,
		__filter = "filter" }
	local http_res = {}
	function http_res:body()
		assert(self.__filter == "filter", "told no filter")
		return now
	end
	local txn = { http_res = http_res, get_var = function() end,
		set_var = function(_, k, v) vars[k] = v end }
	local f = class:new()
	f:http_headers(txn, { channel = channel,
		is_resp = function() return true end,
		get_stline = function() return { code = "101" } end })
	for _, piece in ipairs(pieces) do
		now = piece
		f:tcp_payload(txn, channel)
		now = nil
		f:tcp_payload(txn, channel)
	end
	f:end_analyze(txn, channel)
	return vars["txn.gw.usage"]
end

local function expect_session(name, bytes, want, broken)
	logged = nil
	local wrong = every_way(bytes, function(pieces)
		local got = websocket(pieces)
		if got ~= want then return "usage is " .. tostring(got) end
		if not broken and logged then return "logged: " .. logged end
	end)
	check("session: " .. name, not wrong, wrong or "")
end

local function done(usage, output)
	return '{"type":"response.done","event_id":"e","response":{"id":"r",' ..
		'"output":[' .. (output or "") .. '],"usage":' .. usage ..
		',"metadata":{"usage":"x"}}}'
end
local spoken = '{"total_tokens":150,"input_tokens":100,"output_tokens":50,' ..
	'"input_token_details":{"text_tokens":40,"audio_tokens":60,' ..
	'"cached_tokens":20},"output_token_details":{"audio_tokens":50}}'
local function times(n)
	return ('{"input_token_details":{"audio_tokens":%d,"cached_tokens":%d,' ..
		'"text_tokens":%d},"input_tokens":%d,"output_token_details":' ..
		'{"audio_tokens":%d},"output_tokens":%d,"total_tokens":%d}')
		:format(60 * n, 20 * n, 40 * n, 100 * n, 50 * n, 50 * n, 150 * n)
end
local ping, pong = frame("usage", 0x89), frame("", 0x8a)
local audio = '{"type":"response.output_audio.delta","delta":"' ..
	("QUJD"):rep(50000) .. '","usage":' .. spoken .. "}"
local said = frame(done(spoken))
local heard = frame('{"type":"conversation.item.input_audio_transcription.' ..
	'completed","item_id":"i","usage":{"type":"tokens","input_tokens":13,' ..
	'"output_tokens":9,"input_token_details":{"audio_tokens":13}}}')

expect_session("nothing said", frame('{"type":"session.created"}') .. ping)
expect_session("one response", said, times(1))
expect_session("several, control frames between", said .. ping .. said ..
	pong .. pong .. said .. frame("", 0x88), times(3))
expect_session("transcription alone", heard .. heard,
	'{"input_token_details":{"audio_tokens":26},"input_tokens":26,' ..
	'"output_tokens":18}')
expect_session("transcription and response", said .. heard,
	'{"input_token_details":{"audio_tokens":73,"cached_tokens":20,' ..
	'"text_tokens":40},"input_tokens":113,"output_token_details":' ..
	'{"audio_tokens":50},"output_tokens":59,"total_tokens":150}')
expect_session("by duration", frame('{"type":"conversation.item.' ..
	'input_audio_transcription.completed","usage":{"type":"duration",' ..
	'"seconds":4.2}}'), "{}")
expect_session("large audio is passed over", said .. frame(audio) .. said,
	times(2))
expect_session("a large response", frame(done(spoken,
	'{"text":"' .. ("x"):rep(70000) .. '"}')), times(1))
for _, form in ipairs { 16, 64 } do
	expect_session("length of " .. form .. " bits", frame("x", 0x81, form) ..
		frame(done(spoken), 0x81, form) .. said, times(2))
end
local text = done(spoken)
for _, cut in ipairs { 0, 1, 40, #text } do
	expect_session("fragments, control frame between, " .. cut,
		frame(text:sub(1, cut), 0x01) .. ping .. frame("", 0x00) ..
		frame(text:sub(cut + 1), 0x80) .. said, times(2))
end
expect_session("over many lines", frame((text:gsub("[{,]", "%0\n  "))),
	times(1))
expect_session("type behind the response", frame('{"response":{"usage":' ..
	spoken .. '},"type":"response.done"}'), times(1))
expect_session("binary is no event", frame(text, 0x82))
for _, kind in ipairs { "session.updated", "conversation.item.created",
	"response.created", "response.done.delta", "error" } do
	expect_session("usage of " .. kind,
		frame((text:gsub("response.done", kind, 1))))
end
expect_session("usage as text", frame(done("null", '{"text":"' ..
	spoken:gsub('"', '\\"') .. '"}')))
expect_session("usage null", said .. frame(done("null")), times(1))
expect_session("cut off", said .. said:sub(1, -2), times(1))
expect_session("huge numbers and fractions", frame(done('{"input_tokens":' ..
	'1.5,"output_tokens":9999999999999999,"total_tokens":-1}')), "{}")
-- what was read before stays charged
expect_session("compressed", said .. frame("x", 0xc1) .. said, times(1), true)
expect_session("masked", said .. "\x81\x81abcdx" .. said, times(1), true)
check("what cannot be read is logged", logged, "nothing logged")

-- ---- whoever is blocked is cut

-- A connection to the agent that brings `text`, and then ends.
function agent.socket()
	local rest, at = agent.text, 1
	return {
		settimeout = function() end,
		connect = function(_, host, port)
			agent.asked = host .. " " .. port
			if not rest then return nil, "connection refused" end
			return true
		end,
		send = function(_, text) agent.asked = text end,
		receive = function(_, what)
			if type(what) == "number" then
				local body = rest:sub(at, at + what - 1)
				if #body < what then return nil, "closed", body end
				return body
			end
			local line, after = rest:match("^([^\n]*)\r\n()", at)
			if not line then return nil, "closed" end
			at = after
			return line
		end,
		close = function() end,
	}
end

local function answer(body, head)
	return (head or "HTTP/1.1 200 OK") .. "\r\nContent-Length: " .. #body ..
		"\r\nContent-Type: text/plain\r\n\r\n" .. body
end

local version = 1000

-- The agent lists these, as of the next version; n polls.
local function list(names, n)
	version = version + 1
	agent.text = answer("version " .. version .. "\n" .. names)
	for _ = 1, n or 1 do poll() end
end

local demo = { ["txn.gw.consumer"] = "demo", ["txn.gw.app_scope"] = "app-1",
	["txn.gw.agent_scope"] = "proj/agent" }

-- Chunks, with what happens before each of them; the events that passed, and
-- whether it was cut.
local function stream(happens, options)
	local o = setmetatable(options or {}, { __index = demo })
	local vars = {}
	local events, cut, why = 0, false, nil
	local txn = {
		get_var = function(_, k) return o[k] or nil end,
		set_var = function(_, k, v) vars[k] = v end,
	}
	local msg = {
		is_resp = function() return true end,
		get_stline = function() return { code = o.status or "200" } end,
		get_headers = function()
			return { ["content-type"] = { [0] = o.kind or SSE } }
		end,
		body = function() return delta("a") end,
		eom = function() return false end,
	}
	msg.channel = msg
	local f = class:new()
	f:http_headers(txn, msg)
	for _, event in ipairs(happens) do
		if event then event() end
		asked_again = nil
		local ok, err
		if o.status == "101" then
			ok, err = pcall(f.tcp_payload, f, txn, msg)
		else
			ok, err = pcall(f.http_payload, f, txn, msg)
		end
		if not ok then
			cut, why = true, err
			break
		end
		events = events + 1
		assert(asked_again == 1000, "nobody looks again")
	end
	f:end_analyze(txn, msg.channel)
	return { cut = cut, why = why, events = events, vars = vars, f = f }
end

local function says(s) return s.cut and "cut" or s.events .. " events" end

for _ = 1, 10 do poll() end
check("no agent is no reason to cut", logged:find("refused", 1, true) and
	says(stream { false, false }) == "2 events", tostring(logged))
for _, name in ipairs { "consumer:demo", "app:app-1", "agent:proj/agent" } do
	list("consumer:other\n", 10)
	local s = stream { false, function() list("app:x\n" .. name .. "\n") end,
		false }
	check(name .. " is cut at the next chunk", s.cut and s.events == 1 and
		s.vars["txn.gw.code"] == "caller_blocked" and
		s.vars["txn.gw.events"] == 1 and s.why:find("blocked"), says(s))
	list("consumer:other\n", 10)
	for _, kind in ipairs { "audio/mpeg", JSON } do
		s = stream({ false, function() list(name .. "\n") end },
			{ kind = kind })
		check(name .. " is cut, " .. kind, s.cut, says(s))
		list("consumer:other\n", 10)
	end
	s = stream({ false, function() list(name .. "\n") end },
		{ status = "101" })
	check(name .. " is cut on a WebSocket", s.cut, says(s))
end

list("consumer:other\n", 10)
local s = stream { false, function()
	list("consumer:dem\nconsumer:demo2\napp:demo\nagent:demo\nconsumer:\n")
end, false }
check("others are not cut", not s.cut and not s.vars["txn.gw.code"], says(s))
s = stream({ false, function() list("consumer:\napp:\nagent:\n") end },
	{ ["txn.gw.consumer"] = false })
check("no name is nobody's", not s.cut, says(s))
s = stream({ false, function() list("consumer:demo\n") end },
	{ status = "500" })
check("an error answer is passed on", not s.f.watched, says(s))

list("consumer:demo\n", 10)
s = stream { false, false }
check("who was let in by a newer decision is not cut", not s.cut, says(s))
list("consumer:other\nconsumer:demo\n")
s = stream { false }
check("who begins while the list changes is looked up", s.cut, says(s))

list("consumer:other\n", 10)
local function older()
	agent.text = answer("version 5\nconsumer:demo\n")
	poll()
end
s = stream { false, older, false }
check("an older list changes nothing", not s.cut, says(s))

local body = "version 999999\nconsumer:demo\n"
for name, text in pairs {
	["503"] = answer(body, "HTTP/1.1 503 Service Unavailable"),
	["another program"] = "SSH-2.0-OpenSSH\r\n",
	["no list"] = answer("<html>"),
	["no version"] = answer("version x\nconsumer:demo\n"),
	["cut off"] = answer(body):sub(1, -3),
	["no length"] = "HTTP/1.1 200 OK\r\n\r\n" .. body,
	["no end of headers"] = "HTTP/1.1 200 OK\r\n" .. ("a: b\r\n"):rep(99),
	["too long"] = "HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n" ..
		body,
	["nothing"] = "",
} do
	list("consumer:other\n", 10)
	logged = nil
	s = stream { false, function()
		agent.text = text
		for _ = 1, 5 do poll() end
	end }
	check("an answer that is no list is none: " .. name, not s.cut and
		logged and logged:find("does not tell"), says(s))
end
agent.text = nil
poll()
list("consumer:other\n", 10)
check("it is told when the agent answers again",
	logged:find("tells who is blocked", 1, true), tostring(logged))
check("HTTP/1.0, so that the connection ends",
	agent.asked == "GET /blocked HTTP/1.0\r\n\r\n", agent.asked)

-- With the response at its end nothing may wake the stream any more.
f = class:new()
f.watched = true
check("the end of the answer is the end of looking",
	f:http_end(nil, { is_resp = function() return true end }) == 1 and
	asked_again > 86400000, tostring(asked_again))
asked_again = 0
f:http_end(nil, { is_resp = function() return false end })
check("the end of the request is not", asked_again == 0,
	tostring(asked_again))

print(("%s: %d passed, %d failed"):format(_VERSION, passed, failed))
os.exit(failed == 0)
