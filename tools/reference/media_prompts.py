#!/usr/bin/env python3
"""Write messages.json and media_prompt.safetensors beside the tiny checkpoints with a tokenizer: prompts that hold real
media files, and everything the reference makes of them, from the files' pixels and samples to the logits.

usage: media_prompts.py     after generate.py and media_cases.py; seconds
"""
import json
import pathlib
import subprocess
import wave
from importlib.metadata import version

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

import golden_outputs
import media_outputs
from stable_safetensors import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests"
DATA = "../../media/data/"
# What a user might send; budgets that the tiny models' contexts hold. The video gives the first of its frames, or two.
PROMPTS = {
    "e2b_like": [
        {"role": "system", "content": "the one"},
        {"role": "user", "content": [
            {"type": "text", "text": "see "}, {"type": "image_url", "image_url": {"url": DATA + "exif5.png"}, "budget": 70},
            {"type": "text", "text": " and hear"}, {"type": "input_audio", "input_audio": {"path": DATA + "s16.wav"}}]},
        {"role": "assistant", "content": "a word"},
        {"role": "user", "content": [{"type": "video", "path": DATA + "lossless.mkv"}, {"type": "text", "text": "and now?"}]}],
    "moe_26b_like": [
        {"role": "user", "content": [
            {"type": "image", "path": DATA + "rgba.png", "budget": 70}, {"type": "text", "text": "or"},
            {"type": "image", "path": DATA + "grey.png", "budget": 70}, {"type": "text", "text": "the same?"},
            {"type": "video", "path": DATA + "lossless.mkv"}]}],
    "unified_12b_like": [
        {"role": "user", "content": [
            {"type": "audio", "path": DATA + "s16.wav"}, {"type": "image", "path": DATA + "palette.png", "budget": 70},
            {"type": "text", "text": "when?"}, {"type": "video", "path": DATA + "lossless.mkv"}]}],
}
FRAMES = {"e2b_like": 1, "moe_26b_like": 2, "unified_12b_like": 1}


def patches(image, budget, config):
    """Patches and positions without padding."""
    processed = Gemma4ImageProcessorPil(max_soft_tokens=budget, patch_size=config.vision_config.patch_size)(
        images=[image], return_tensors="pt")
    positions = processed["image_position_ids"][0]
    real = (positions != -1).all(-1)
    values, positions = processed["pixel_values"][0][real].float(), positions[real]
    if config.model_type != "gemma4_unified":
        return values, positions
    # Squares of patches become one, row by row (Gemma4UnifiedImageProcessor merges so).
    side, k = config.vision_config.patch_size, config.vision_config.pooling_kernel_size
    columns, rows = int(positions[:, 0].max()) + 1, int(positions[:, 1].max()) + 1
    pixels = values.reshape(rows, columns, side, side, 3).permute(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3)
    merged = pixels.reshape(rows // k, k * side, columns // k, k * side, 3).permute(0, 2, 1, 3, 4)
    return merged.reshape(-1, (k * side) ** 2 * 3).contiguous(), media_outputs.grid(columns // k, rows // k)


def samples(path):
    with wave.open(str(path)) as file:
        assert file.getframerate() == 16000 and file.getnchannels() == 1 and file.getsampwidth() == 2
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def video_frames(path, count):
    """Chosen frames and their times."""
    raw = subprocess.run(["ffmpeg", "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                         check=True, capture_output=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, 48, 64, 3)
    chosen = np.arange(count) * len(frames) // count
    return [(Image.fromarray(frames[i]), i / 10) for i in chosen]


@torch.no_grad()
def write(name):
    directory = ROOT / "golden" / name
    messages = PROMPTS[name]
    (directory / "messages.json").write_text(json.dumps(messages, indent=1) + "\n")
    model = golden_outputs.load(directory, torch.float32)
    config = model.config
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"),
                                                     bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    out, images, frames, sound, sound_mask, counts = {}, [], [], None, None, []
    template = []
    for message in messages:
        parts = message["content"] if isinstance(message["content"], list) else None
        if parts is None:
            template.append(message)
            continue
        template.append({"role": message["role"], "content": [
            {"type": "text", "text": p["text"]} if p["type"] == "text" else
            {"type": p["type"].replace("_url", "").replace("input_", "")} for p in parts]})
        for part in parts:
            kind = part["type"]
            path = directory / (part.get("path") or part.get("image_url", {}).get("url") or part.get("input_audio", {}).get("path") or "")
            if kind in ("image", "image_url"):
                image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
                cut = patches(image, part["budget"], config)
                media_outputs.features(model, *cut, f"image.{len(images)}", out)
                counts.append(("<|image|>", f"<|image>{'<|image|>' * len(out[f'image.{len(images)}.projected'])}<image|>"))
                images.append(cut)
            elif kind in ("audio", "input_audio"):
                wav = samples(path)
                if config.model_type == "gemma4_unified":
                    width = config.audio_config.audio_embed_dim
                    padded = np.pad(wav, (0, -len(wav) % width))
                    sound = torch.from_numpy(padded.reshape(1, -1, width))
                    sound_mask = torch.ones(sound.shape[:2], dtype=torch.bool)
                else:
                    bins = config.audio_config.subsampling_conv_channels[0]
                    heard = Gemma4AudioFeatureExtractor(feature_size=bins)([wav], return_tensors="pt")
                    sound, sound_mask = heard["input_features"].float(), heard["input_features_mask"].bool()
                media_outputs.hear(model, sound, sound_mask, "audio.0", out)
                counts.append(("<|audio|>", f"<|audio>{'<|audio|>' * len(out['audio.0.projected'])}<audio|>"))
            elif kind == "video":
                texts = []
                for k, (image, seconds) in enumerate(video_frames(path, FRAMES[name])):
                    cut = patches(image, 70, config)
                    media_outputs.features(model, *cut, f"video.0.frame.{k}", out)
                    count = len(out[f"video.0.frame.{k}.projected"])
                    texts.append(f"{int(seconds // 60):02d}:{int(seconds % 60):02d} <|image>{'<|video|>' * count}<image|>")
                    frames.append(cut)
                counts.append(("<|video|>", " ".join(texts)))
    text = tokenizer.apply_chat_template(template, tokenize=False, add_generation_prompt=True,
                                         chat_template=(directory / "chat_template.jinja").read_text())
    pieces, rest = "", text
    for placeholder, replacement in counts:  # media in the order of the prompt
        before, rest = rest.split(placeholder, 1)
        pieces += before + replacement
    ids = tokenizer(pieces + rest, add_special_tokens=False)["input_ids"]
    types = {config.image_token_id: 1, config.video_token_id: 2, config.audio_token_id: 3}
    kinds = [types.get(i, 0) for i in ids]
    media_outputs.look(model, ids, kinds, images, frames, sound, sound_mask, out)
    out["ids"] = torch.tensor(ids, dtype=torch.int32)
    save_file({n: t.contiguous() for n, t in out.items() if not n.startswith("layer.")}, directory / "media_prompt.safetensors",
              metadata={"transformers": version("transformers"), "torch": version("torch"), "arithmetic": "float32"})
    size = (directory / "media_prompt.safetensors").stat().st_size
    print(f"{name}: {len(ids)} tokens, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for checkpoint in PROMPTS:
        write(checkpoint)
