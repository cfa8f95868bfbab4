// The three-tool task of ../task.py: the tools' declarations, and what is called is written down for the test to judge.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { execFileSync } = require("node:child_process");

const { url, model, folder, tools, ask, final, picture } = JSON.parse(process.env.TASK);
const called = [];

function call(name, args) {
  called.push([name, args]);
  if (name === "run_command") return execFileSync("sh", ["-c", args.command], { cwd: folder }).toString();
  const file = path.join(folder, args.path);
  const text = fs.readFileSync(file, "utf8");
  if (name === "read_file") return text;
  fs.writeFileSync(file, text.replace(args.old, () => args.new));
  return "edited";
}

// Runs the case that is named on the command line; its name and what it called go to standard output.
async function run(cases) {
  const name = process.argv[2];
  await cases[name]();
  console.log(JSON.stringify({ name, called }));
}

module.exports = { assert, url, model, tools, ask, final, picture, call, run };
