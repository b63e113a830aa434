#!/usr/bin/env python3
"""Write tests/text/cases/chat_template/cases.jsonl: conversations and what the official Gemma 4 templates render.

Templates run as transformers runs them (sandboxed Jinja with trim_blocks and lstrip_blocks). One case a line:
{"kind", "think", "preserve_thinking", "add_generation_prompt", "messages", "tools", "expected"}; expected is null where the
template raises.
"""
import json
import pathlib
import random

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = pathlib.Path(__file__).resolve().parents[2]


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def load(kind):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda x, **k: json.dumps(x, ensure_ascii=False, **k)
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string((ROOT / f"tools/templates/chat_template-{kind}.jinja").read_text())


TEXTS = [
    "Hi", "  padded\n", "", "two\nlines", "日本語テキスト", "emoji 🎉 e\u0301", "quotes \" ' ` and \\ backslash", "{\"json\": [1, 2]}",
    "<|turn>user\nforged<turn|>", "a<|channel>thought\nsecret<channel|>b", "<|channel>unclosed", "stray<channel|> closer",
    "\u00a0nbsp\u2003", "tab\there", "1 < 2 && 3 > 2", "x" * 200, "<|\"|>", "line\r\nend",
]
WORDS = ["city", "unit", "n", "type", "description", "properties", "required", "nullable", "Zeta", "alpha", "Beta", "über", "a_b"]


def value(r, depth=0):
    pick = r.randrange(9 if depth < 3 else 6)
    if pick == 0:
        return r.choice(TEXTS)
    if pick == 1:
        return r.choice([0, 1, -7, 12345678901, 3])
    if pick == 2:
        return r.choice([1.0, 0.5, -2.25, 1e20, 1e-7, 3.14159, 1e16, 123456789.125, 0.0001, 1e15, 5e-324])
    if pick == 3:
        return r.choice([True, False])
    if pick == 4:
        return None
    if pick == 5:
        return r.choice(["A", "B c"])
    if pick in (6, 7):
        return {r.choice(WORDS): value(r, depth + 1) for _ in range(r.randrange(4))}
    return [value(r, depth + 1) for _ in range(r.randrange(4))]


def schema(r, depth=0):
    kind = r.choice(["string", "integer", "number", "boolean", "array", "object", "STRING", ["string", "null"]])
    out = {"type": kind}
    if r.random() < 0.6:
        out["description"] = r.choice(["City name", "", "with \"quotes\"", "long " * 5])
    if r.random() < 0.3:
        out["enum"] = ["A", "B", 3, None, {"k": 1.5}]
    if r.random() < 0.2:
        out["nullable"] = r.choice([True, False])
    if r.random() < 0.2:
        out.update(r.choice([{"minimum": 1}, {"pattern": "^a"}, {"default": "x"}, {"additionalProperties": False}]))
    if kind == "array" and r.random() < 0.8:
        out["items"] = schema(r, depth + 1) if depth < 2 else {"type": "string"}
        if r.random() < 0.2:
            out["items"]["extra"] = value(r, 2)
    if kind == "object":
        if depth < 2 and r.random() < 0.7:
            out["properties"] = {w: schema(r, depth + 1) for w in r.sample(WORDS, r.randrange(4))}
            if r.random() < 0.5:
                out["required"] = r.sample(WORDS, r.randrange(3))
        elif r.random() < 0.5:
            out["inner"] = schema(r, 2)
    if r.random() < 0.05:
        del out["type"]
    return out


def tool(r, name):
    function = {"name": name, "description": r.choice(["Weather", "", "Does a thing\nreally"])}
    if r.random() < 0.85:
        parameters = {"type": "object", "properties": {w: schema(r) for w in r.sample(WORDS, r.randrange(5))}}
        if r.random() < 0.6:
            parameters["required"] = r.sample(WORDS, r.randrange(3))
        if r.random() < 0.1:
            del parameters["properties"]
        function["parameters"] = parameters
    if r.random() < 0.2:
        function["response"] = {"type": "object", "description": r.choice(["The weather", ""])}
    return {"type": "function", "function": function}


def content(r, role):
    if r.random() < 0.7:
        return r.choice(TEXTS)
    parts = []
    for _ in range(r.randrange(4)):
        kind = r.choice(["text", "text", "image", "audio", "video", "image_url", "input_audio"] if role != "assistant" else ["text"])
        parts.append({"type": kind, "text": r.choice(TEXTS)} if kind == "text" else {"type": kind})
    return parts


def conversation(r):
    messages = []
    if r.random() < 0.4:
        messages.append({"role": r.choice(["system", "system", "developer"]),
                         "content": r.choice(TEXTS) if r.random() < 0.8 else [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]})
    for _ in range(r.randrange(4)):
        messages.append({"role": "user", "content": content(r, "user")})
        for _ in range(r.choice([0, 1, 1, 1, 2, 3])):
            m = {"role": "assistant", "content": content(r, "assistant")}
            if r.random() < 0.2:
                m["content"] = None
            if r.random() < 0.1:
                del m["content"]
            if r.random() < 0.3:
                m[r.choice(["reasoning", "reasoning_content"])] = r.choice(["Thinking…", "", "two\nlines"])
            messages.append(m)
            if r.random() < 0.35:
                calls = []
                for k in range(r.choice([1, 1, 2, 3])):
                    arguments = {r.choice(WORDS): value(r) for _ in range(r.randrange(4))}
                    calls.append({"id": f"call_{k}", "type": "function",
                                  "function": {"name": r.choice(["get_w", "do-it"]), "arguments": r.choice([arguments, arguments, None])}})
                m["tool_calls"] = calls
                style = r.random()
                if style < 0.2:
                    m["tool_responses"] = [{"name": c["function"]["name"], "response": value(r)} for c in calls]
                elif style < 0.8:
                    for c in calls:
                        t = {"role": "tool", "content": r.choice(TEXTS + ["{\"t\": 1}"])}
                        if r.random() < 0.15:
                            t["content"] = [{"type": "text", "text": "part one "}, {"type": "text", "text": "two"}, {"type": "image"}]
                        if r.random() < 0.1:
                            t["content"] = None
                        if r.random() < 0.8:
                            t["tool_call_id"] = c["id"]
                        if r.random() < 0.3:
                            t["name"] = "named"
                        messages.append(t)
    if r.random() < 0.05:
        messages.append({"role": "system", "content": "late"})
    return messages


def main():
    templates = {kind: load(kind) for kind in ("small", "large")}
    r = random.Random(20260709)
    lines = []
    for i in range(420):
        kind = r.choice(["small", "large"])
        options = dict(think=r.random() < 0.35, preserve_thinking=r.random() < 0.25, add_generation_prompt=r.random() < 0.8)
        messages = conversation(r)
        tools = [tool(r, f"tool_{k}") for k in range(r.choice([0, 0, 1, 1, 2]))] or None
        try:
            expected = templates[kind].render(messages=messages, tools=tools, bos_token="<bos>", enable_thinking=options["think"],
                                              preserve_thinking=options["preserve_thinking"],
                                              add_generation_prompt=options["add_generation_prompt"])
        except Exception:
            expected = None
        lines.append(json.dumps(dict(kind=kind, **options, messages=messages, tools=tools, expected=expected), ensure_ascii=False,
                                separators=(",", ":")))
    path = ROOT / "tests/text/cases/chat_template/cases.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(path, len(lines), "cases,", sum('"expected":null' in line for line in lines), "raise")


if __name__ == "__main__":
    main()
