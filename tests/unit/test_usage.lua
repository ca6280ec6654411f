-- Tests of lua/usage.lua, with lua5.3 and lua5.4:
--
--   lua5.4 tests/unit/test_usage.lua [path of usage.lua]
--
-- HAProxy is played by this file: it hands each answer to the filter whole,
-- cut in two at every byte, and byte by byte, and wants the same variables.

local class, logged
core = {
	err = 3,
	log = function(_, text) logged = text end,
	register_filter = function(_, c) class = c end,
}
filter = {
	FLT_CFG_FL_HTX = 1,
	CONTINUE = 1,
	register_data_filter = function(f) f.armed = true end,
}

local here = arg[0]:match("^(.*)/[^/]*$") or "."
dofile(arg[1] or here .. "/../../lua/usage.lua")

local SSE, JSON = "text/event-stream; charset=utf-8", "application/json"

-- Sends chunks through a filter as an answer; returns the variables set.
local function run(kind, chunks, options)
	local o = options or {}
	local vars, now = {}, nil
	local txn = { set_var = function(_, k, v) vars[k] = v end }
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
		}
	end
	local f = class:new()
	local req, res = message(false), message(true)
	assert(f:http_headers(txn, req) == 1)
	assert(f:http_headers(txn, res) == 1)
	for _, chunk in ipairs(chunks) do
		now = chunk
		f:http_payload(txn, res)
		now = nil -- HAProxy often calls again with nothing
		f:http_payload(txn, res)
	end
	f:end_analyze(txn, req.channel)
	f:end_analyze(txn, res.channel)
	return vars, f
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

-- Every way to cut the body must give the same answer.
local function expect(name, kind, body, want)
	logged = nil
	local wrong = differs(run(kind, { body }), want)
	local step = #body > 10000 and #body // 100 or 1
	for i = 1, #body - 1, step do
		wrong = wrong or differs(
			run(kind, { body:sub(1, i), body:sub(i + 1) }), want)
		if wrong then
			wrong = wrong .. " (cut at " .. i .. ")"
			break
		end
	end
	if not wrong and #body <= 10000 then
		local bytes = {}
		for i = 1, #body do bytes[i] = body:sub(i, i) end
		wrong = differs(run(kind, bytes), want)
		wrong = wrong and wrong .. " (byte by byte)"
	end
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
expect("the largest usage", SSE, 'data: {"usage":' .. padded(2000) .. "}\n\n",
	{ usage = padded(2000), events = 1 })
expect("a usage that is too large", SSE,
	'data: {"usage":{"a":1}}\n\ndata: {"usage":' .. padded(2001) .. "}\n\n",
	{ events = 2 })
expect("only closing brackets", SSE, ("}]"):rep(500) .. "\n\n" .. last,
	{ usage = chat_usage, events = 1 })

-- ---- the filter around it

local _, f = run("audio/mpeg", { last })
check("other content is not read", not f.armed and not f.reader, "armed")
_, f = run(nil, { last })
check("no content type", not f.armed and not f.reader, "armed")
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

print(("%s: %d passed, %d failed"):format(_VERSION, passed, failed))
os.exit(failed == 0)
