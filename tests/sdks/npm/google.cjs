// The official `@google/genai` package of npm. Usage: TASK=... node google.cjs CASE
"use strict";
const { GoogleGenAI, FunctionCallingConfigMode } = require("@google/genai");
const { assert, url, model, tools, ask, final, picture, call, run } = require("./task.cjs");

const client = new GoogleGenAI({ apiKey: "none", httpOptions: { baseUrl: url } });
const functionDeclarations = tools.map(({ parameters, ...t }) => ({ ...t, parametersJsonSchema: parameters }));

async function whole(request) {
  return (await client.models.generateContent(request)).candidates[0].content.parts;
}

async function streamed(request) {
  const parts = [];
  for await (const chunk of await client.models.generateContentStream(request)) {
    parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
  }
  return parts;
}

const spoken = (parts) => parts.filter((p) => !p.thought).map((p) => p.text ?? "").join("");

async function loop(answer) {
  const contents = [{ role: "user", parts: [{ text: ask }] }];
  for (;;) {
    const parts = await answer({ model, contents, config: { tools: [{ functionDeclarations }] } });
    contents.push({ role: "model", parts });
    const calls = parts.filter((p) => p.functionCall).map((p) => p.functionCall);
    if (!calls.length) return assert.equal(spoken(parts), final);
    const results = calls.map((c) => ({ functionResponse: { name: c.name, response: { result: call(c.name, c.args) } } }));
    contents.push({ role: "user", parts: results });
  }
}

run({
  async models() {
    const names = [];
    for await (const m of await client.models.list()) names.push(m.name);
    assert(names.some((n) => n.endsWith(model)));
    assert((await client.models.get({ model })).name.endsWith(model));
  },
  async text() {
    const request = { model, contents: "hi" };
    assert.match(spoken(await whole(request)), /^\[fixture\] I heard/);
    assert.equal(spoken(await streamed(request)), spoken(await whole(request)));
    assert((await client.models.countTokens(request)).totalTokens > 0);
  },
  async picture() {
    const [, data] = picture.split(",");
    const contents = [{ role: "user", parts: [{ text: "What?" }, { inlineData: { mimeType: "image/png", data } }] }];
    assert.match(spoken(await whole({ model: "auto", contents })), /^\[fixture\] I saw/);
  },
  async file() {
    const bytes = Buffer.from(picture.split(",")[1], "base64");
    const file = await client.files.upload({ file: new Blob([bytes], { type: "image/png" }), config: { mimeType: "image/png" } });
    const part = { fileData: { fileUri: file.uri, mimeType: file.mimeType } };
    assert.match(spoken(await whole({ model: "auto", contents: [{ role: "user", parts: [part] }] })), /^\[fixture\] I saw/);
    await client.files.delete({ name: file.name });
  },
  async chat() {
    const chat = client.chats.create({ model });
    for (let i = 0; i < 2; i++) assert.match((await chat.sendMessage({ message: "hi" })).text, /^\[fixture\] I heard/);
  },
  async errors() {
    await assert.rejects(client.models.generateContent({ model: "nobody", contents: "hi" }), { status: 404 });
    await assert.rejects(streamed({ model, contents: "x".repeat(60000) }), { status: 400 });
  },
  loop_whole: () => loop(whole),
  loop_stream: () => loop(streamed),
  async automatic() {
    const callable = {
      tool: async () => ({ functionDeclarations }),
      callTool: async (calls) => calls.map((c) => ({ functionResponse: { id: c.id, name: c.name, response: { result: call(c.name, c.args) } } })),
    };
    const mode = FunctionCallingConfigMode.AUTO;
    const config = { tools: [callable], toolConfig: { functionCallingConfig: { mode } } };
    const answer = await client.models.generateContent({ model, contents: ask, config });
    assert.equal(answer.text, final);
  },
});
