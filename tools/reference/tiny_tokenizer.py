"""A tokenizer of 320 tokens built like the released one: BPE over text whose spaces became "▁", with byte fallback and the
same special tokens, all at other ids, so that code which counts on a released id fails.
"""
import json

# In the order of their ids from 0. <pad> stays 0, the row the reference pads with.
FIRST = ["<pad>", "<|think|>", "<unk>", "<eos>", "<mask>", "<turn|>", "<bos>", "<|turn>"]
LAST = ["<channel|>", "<|channel>", "<tool_call|>", "<|tool_call>", "<tool_response|>", "<|tool_response>", "<tool|>",
        "<|tool>", "<|\"|>", "<|image>", "<image|>", "<|image|>", "<|audio>", "<audio|>", "<|audio|>", "<|video|>"]
LETTERS = list("etaoinsrhldumwcyT.") + ["▁", "\n", "é"]
MERGES = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "▁"), ("▁▁", "▁▁"), ("\n", "\n"), ("i", "n"), ("a", "n"),
          ("e", "r"), ("▁", "a"), ("o", "n"), ("s", "e"), ("l", "l"), ("o", "r"), ("w", "or"), ("wor", "d"),
          ("▁", "wor"), ("u", "se"), ("use", "r")]
# What the chat parser must see even where special tokens are left out of the text.
VISIBLE = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>"}


def vocabulary():
    """Piece -> id."""
    pieces = FIRST + LETTERS + [f"<0x{b:02X}>" for b in range(256)]
    pieces += [left + right for left, right in MERGES if left + right not in LETTERS]
    assert len(pieces) + len(LAST) == len(set(pieces + LAST)) == 320, len(pieces) + len(LAST)
    return {piece: i for i, piece in enumerate(pieces + LAST)}


def token_ids():
    """The ids config.json speaks of, and the vocabulary's size."""
    ids = vocabulary()
    return {**{t: ids[t] for t in FIRST + LAST}, "vocab_size": len(ids)}


def tokenizer_json():
    """In the layout of the released tokenizer.json."""
    ids = vocabulary()
    added = sorted((ids[t], t) for t in FIRST + LAST)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, t in added],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                          "invert": False},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": ids, "merges": [list(pair) for pair in MERGES]},
    }


def write(directory, chat_template):
    """tokenizer.json, tokenizer_config.json and the chat template."""

    def dump(name, value):
        text = json.dumps(value, indent=None if name == "tokenizer.json" else 1, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    dump("tokenizer.json", tokenizer_json())
    dump("tokenizer_config.json", {
        "add_bos_token": False, "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
        "mask_token": "<mask>", "clean_up_tokenization_spaces": False, "tokenizer_class": "GemmaTokenizer"})
    (directory / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
