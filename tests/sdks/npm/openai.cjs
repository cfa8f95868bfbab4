// The official `openai` package of npm. Usage: TASK=... node openai.cjs CASE
"use strict";
const OpenAI = require("openai").default;
const { assert, url, model, tools, ask, final, picture, call, run } = require("./task.cjs");

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const functions = tools.map((t) => ({ type: "function", function: t }));
const user = (content) => [{ role: "user", content }];

async function chatLoop(answer) {
  const messages = user(ask);
  for (;;) {
    const message = (await answer({ model, messages, tools: functions })).choices[0].message;
    messages.push(message);
    if (!message.tool_calls?.length) return assert.equal(message.content, final);
    for (const c of message.tool_calls) {
      const said = call(c.function.name, JSON.parse(c.function.arguments));
      messages.push({ role: "tool", tool_call_id: c.id, content: said });
    }
  }
}

async function responsesLoop(answer) {
  const input = user(ask);
  const flat = tools.map((t) => ({ type: "function", strict: true, ...t }));
  for (;;) {
    const response = await answer({ model, input, tools: flat, store: false });
    input.push(...response.output);
    const calls = response.output.filter((o) => o.type === "function_call");
    if (!calls.length) return assert.equal(response.output_text, final);
    for (const c of calls) {
      input.push({ type: "function_call_output", call_id: c.call_id, output: call(c.name, JSON.parse(c.arguments)) });
    }
  }
}

run({
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert(ids.includes(model));
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  async text() {
    const answer = await client.chat.completions.create({ model, messages: user("hi") });
    assert.match(answer.choices[0].message.content, /^\[fixture\] I heard/);
    let said = "";
    const options = { include_usage: true };
    const stream = await client.chat.completions.create({ model, messages: user("hi"), stream: true, stream_options: options });
    let usage = null;
    for await (const chunk of stream) {
      said += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(said, answer.choices[0].message.content);
    assert.equal(usage.completion_tokens, answer.usage.completion_tokens);
  },
  async picture() {
    const image = { type: "image_url", image_url: { url: picture } };
    const content = [{ type: "text", text: "What?" }, image];
    const { data, response } = await client.chat.completions.create({ model: "auto", messages: user(content) }).withResponse();
    assert.match(data.choices[0].message.content, /^\[fixture\] I saw/);
    assert.match(response.headers.get("x-gateway-target"), /^eyes\//);
  },
  async responses() {
    const whole = await client.responses.create({ model, input: "hi" });
    assert.match(whole.output_text, /^\[fixture\] I heard/);
    const streamed = await client.responses.stream({ model, input: "hi" }).finalResponse();
    assert.equal(streamed.output_text, whole.output_text);
  },
  async errors() {
    await assert.rejects(client.chat.completions.create({ model: "nobody", messages: user("hi") }), { status: 404 });
    const wrong = client.chat.completions.create({ model, messages: user("hi"), temperature: 9 });
    await assert.rejects(wrong, { status: 400, param: "temperature" });
    await assert.rejects(client.responses.create({ model, input: "x".repeat(60000) }), { code: "context_length_exceeded" });
  },
  chat_whole: () => chatLoop((body) => client.chat.completions.create(body)),
  chat_stream: () => chatLoop((body) => client.chat.completions.stream(body).finalChatCompletion()),
  responses_whole: () => responsesLoop((body) => client.responses.create(body)),
  responses_stream: () => responsesLoop((body) => client.responses.stream(body).finalResponse()),
  async run_tools() {
    const runnable = tools.map((t) => ({
      type: "function",
      function: { ...t, parse: JSON.parse, function: (args) => call(t.name, args) },
    }));
    const runner = client.chat.completions.runTools({ model, messages: user(ask), tools: runnable });
    assert.equal(await runner.finalContent(), final);
  },
});
