#!/usr/bin/env python3
"""Write media.safetensors beside the tiny checkpoints that have encoders: random patches and mel frames, what the reference's
encoders make of them, and a pass of the decoder over a prompt that holds them all.

usage: media_outputs.py     after generate.py; seconds
"""
import pathlib
from importlib.metadata import version

import torch
import transformers

import golden_outputs
from stable_safetensors import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
# Those with encoders.
CHECKPOINTS = ("e2b_like", "moe_26b_like", "dense_31b_like", "unified_12b_like")
# Patches across and down. The second is larger than the sliding window of 8 or 9 tokens. No two sides are alike, so that x
# and y cannot be mixed up; the last is a frame of a video.
GRIDS = {"tower": [(6, 9), (12, 15), (9, 3)], "merged": [(2, 3), (4, 5), (3, 1)]}


def grid(columns, rows):
    return torch.tensor([(x, y) for y in range(rows) for x in range(columns)])


def features(model, patches, positions, name, out):
    """The outputs of the vision encoder for one image."""
    kept = {}
    unified = model.config.model_type == "gemma4_unified"
    projector = model.model.embed_vision.multimodal_embedder if unified else model.model.embed_vision
    hook = projector.register_forward_hook(lambda _m, args, kwargs, result: kept.update(
        tower=args[0] if args else kwargs["inputs_embeds"], projected=result), with_kwargs=True)
    model.model.get_image_features(patches[None], positions[None])
    hook.remove()
    width = kept["tower"].shape[-1]
    out[f"{name}.patches"] = patches
    out[f"{name}.positions"] = positions.to(torch.int32)
    out[f"{name}.tower"] = kept["tower"].reshape(-1, width)
    out[f"{name}.projected"] = kept["projected"].reshape(-1, kept["projected"].shape[-1])


def hear(model, sound, mask, name, out):
    """The outputs of the audio encoder for one sound [1, frames, width]; mask says which frames are real."""
    kept = {}
    hook = model.model.embed_audio.register_forward_hook(lambda _m, args, kwargs, result: kept.update(
        tower=args[0] if args else kwargs["inputs_embeds"], projected=result), with_kwargs=True)
    result = model.model.get_audio_features(sound, mask)
    hook.remove()
    valid = result.attention_mask if result.attention_mask is not None else mask
    out[f"{name}.mel"] = sound[mask]
    out[f"{name}.tower"] = kept["tower"].reshape(1, -1, kept["tower"].shape[-1])[valid]
    out[f"{name}.projected"] = kept["projected"].reshape(1, -1, kept["projected"].shape[-1])[valid]


def stacked(images):
    """Patches and positions of images as one padded batch."""
    longest = max(len(patches) for patches, _ in images)
    pad = torch.nn.functional.pad
    return (torch.stack([pad(p, (0, 0, 0, longest - len(p))) for p, _ in images]),
            torch.stack([pad(p, (0, 0, 0, longest - len(p)), value=-1) for _, p in images]))


def look(model, ids, kinds, images, frames, sound, sound_mask, out):
    """One pass over a prompt: kinds are the token types 0 text, 1 image, 2 video, 3 audio; frames are those of one video."""
    inputs = {}
    if images:
        inputs["pixel_values"], inputs["image_position_ids"] = stacked(images)
    if frames:
        inputs["pixel_values_videos"], inputs["video_position_ids"] = stacked(frames)
        inputs["num_frames_per_video"] = torch.tensor([len(frames)])
    if sound is not None:
        inputs.update(input_features=sound, input_features_mask=sound_mask)
    decoder, hooks = golden_outputs.decoder(model), []
    for i, layer in enumerate(decoder.layers):
        if i == 0:
            hooks.append(layer.register_forward_pre_hook(lambda _m, args, kwargs: out.update(
                embedding=(args[0] if args else kwargs["hidden_states"])[0].clone()), with_kwargs=True))
        hooks.append(layer.register_forward_hook(
            lambda _m, _a, result, i=i: out.update({f"layer.{i}": (result[0] if isinstance(result, tuple) else result)[0]})))
    out["logits"] = model(input_ids=torch.tensor([ids]), mm_token_type_ids=torch.tensor([kinds]), use_cache=False,
                          logits_to_keep=0, **inputs).logits[0]
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def write(directory):
    dtype = transformers.AutoConfig.from_pretrained(directory).dtype or torch.float32
    model = golden_outputs.load(directory, torch.float32)
    golden_outputs.use_embedding_scale_of(model, dtype)
    config = model.config
    unified = config.model_type == "gemma4_unified"
    generator = torch.Generator().manual_seed(7000 + sum(directory.name.encode()))
    v = config.vision_config
    side = v.patch_size * (v.pooling_kernel_size if unified else 1)
    out = {}
    images = []
    for columns, rows in GRIDS["merged" if unified else "tower"]:
        images.append((torch.rand(columns * rows, side * side * 3, generator=generator), grid(columns, rows)))
    names = ["image.0", "image.1", "video.0.frame.0"]
    for name, (patches, positions) in zip(names, images):
        features(model, patches, positions, name, out)
    counts = [out[f"{name}.projected"].shape[0] for name in names]

    sound, sound_mask = None, None
    if config.audio_config is not None:
        if unified:
            sound = torch.randn(1, 5, config.audio_config.audio_embed_dim, generator=generator)
            sound_mask = torch.ones(1, 5, dtype=torch.bool)
        else:
            # 97 valid frames of 101, as padding in a batch would leave them.
            sound = torch.randn(1, 101, config.audio_config.subsampling_conv_channels[0], generator=generator)
            sound_mask = torch.arange(101)[None] < 97
            sound = sound * sound_mask[..., None]
        hear(model, sound, sound_mask, "audio.0", out)

    def text(count):
        return golden_outputs.random_prompt(model, generator, count + 1)[1:]

    ids = [config.get_text_config().bos_token_id] + text(3)
    kinds = [0] * len(ids)

    def put(begin, soft, end, count, kind):
        ids.extend([begin] + [soft] * count + [end])
        kinds.extend([0] + [kind] * count + [0])

    put(config.boi_token_id, config.image_token_id, config.eoi_token_id, counts[0], 1)
    ids += text(4)
    kinds += [0] * 4
    if sound is not None:
        put(config.boa_token_id, config.audio_token_id, config.eoa_token_index, out["audio.0.projected"].shape[0], 3)
    put(config.boi_token_id, config.image_token_id, config.eoi_token_id, counts[1], 1)
    ids += text(2)
    kinds += [0] * 2
    put(config.boi_token_id, config.video_token_id, config.eoi_token_id, counts[2], 2)
    ids += text(5)
    kinds += [0] * 5

    look(model, ids, kinds, images[:2], images[2:], sound, sound_mask, out)
    out["ids"] = torch.tensor(ids, dtype=torch.int32)
    out["kinds"] = torch.tensor(kinds, dtype=torch.int32)
    for name, value in out.items():
        assert torch.isfinite(value.float()).all(), name
    save_file({n: t.contiguous() for n, t in out.items()}, directory / "media.safetensors", metadata={
        "transformers": version("transformers"), "torch": version("torch"), "arithmetic": "float32", "attention": "eager"})
    return f"{len(ids)} tokens, logits up to {out['logits'].abs().max():.1f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for folder in CHECKPOINTS:
        print(f"{folder}: {write(ROOT / folder)}")
