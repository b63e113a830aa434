#!/usr/bin/env python3
"""Write tests/media/data: small pictures, sounds and clips in every format Carat reads, and what the reference makes of
them: Pillow's pixels, the processors' patches, frames and mel features.

usage: media_cases.py     needs ffmpeg and espeak-ng (Debian packages); seconds
"""
import io
import pathlib
import subprocess

import numpy as np
import torch
import transformers
from PIL import Image, ImageDraw, ImageOps
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil, get_aspect_ratio_preserving_size
from transformers.video_utils import VideoMetadata, default_sample_indices_fn

from stable_safetensors import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "media" / "data"


def scene(width, height, seed=1):
    """Soft colours, edges and a little noise, as photographs have."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([127 + 120 * np.sin(x / 7 + y / 19), 255 * y / max(height - 1, 1), 127 + 120 * np.cos(x * y / 90)], -1)
    image = Image.fromarray(np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 5, height // 4, width // 2, height - 3), fill=(220, 30, 40))
    draw.line((0, height - 1, width, 0), fill=(10, 10, 10), width=2)
    return image


def images():
    """name -> encoded bytes"""
    rgb, files = scene(37, 26), {}
    mask = Image.fromarray(np.tile(np.linspace(0, 255, 37).astype(np.uint8), (26, 1)))
    rgba = rgb.copy()
    rgba.putalpha(mask)

    def put(name, image, **options):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        files[name] = buffer.getvalue()
    put("rgb.png", rgb, format="PNG")
    put("rgba.png", rgba, format="PNG")
    put("grey.png", rgb.convert("L"), format="PNG")
    put("grey_alpha.png", rgba.convert("LA"), format="PNG")
    put("bilevel.png", rgb.convert("1"), format="PNG")
    palette = rgb.quantize(12)
    put("palette.png", palette, format="PNG")
    put("palette_transparent.png", palette, format="PNG", transparency=3)
    put("grey16.png", Image.fromarray((np.asarray(rgb.convert("L")).astype(np.uint16) * 257 + 77).astype(np.uint16)), format="PNG")
    exif = Image.Exif()
    exif[0x0112] = 5
    put("exif5.png", rgb, format="PNG", exif=exif)
    put("baseline.jpg", rgb, format="JPEG", quality=88)
    put("progressive.jpg", rgb, format="JPEG", quality=80, progressive=True, subsampling=0)
    put("grey.jpg", rgb.convert("L"), format="JPEG", quality=85)
    put("cmyk.jpg", rgb.convert("CMYK"), format="JPEG", quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        put(f"exif{orientation}.jpg", rgb, format="JPEG", quality=85, exif=exif)
    put("lossy.webp", rgb, format="WEBP", quality=80)
    put("lossless.webp", rgba, format="WEBP", lossless=True, exact=True)
    put("animated.webp", rgb, format="WEBP", save_all=True, append_images=[scene(37, 26, 2)], lossless=True)
    put("palette.gif", rgb.quantize(60), format="GIF")
    put("animated.gif", rgb.quantize(30), format="GIF", save_all=True, append_images=[scene(37, 26, 2).quantize(30)])
    put("rgb.bmp", rgb, format="BMP")
    put("palette.bmp", rgb.quantize(200), format="BMP")
    put("bilevel.bmp", rgb.convert("1"), format="BMP")
    return files


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", "-bitexact", *map(str, arguments)], check=True)


def sounds(folder):
    rate = 16000
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    pcm = folder / "tone.raw"
    pcm.write_bytes((tone * 32767).round().astype("<i2").tobytes())
    source = ["-f", "s16le", "-ar", rate, "-ac", 1, "-i", pcm, "-t", 0.4]
    for name, options in {
            "s16.wav": ["-c:a", "pcm_s16le"], "u8.wav": ["-c:a", "pcm_u8"], "s24.wav": ["-c:a", "pcm_s24le"],
            "s32.wav": ["-c:a", "pcm_s32le"], "f32.wav": ["-c:a", "pcm_f32le"], "f64.wav": ["-c:a", "pcm_f64le"],
            "stereo44.wav": ["-ac", 2, "-ar", 44100, "-c:a", "pcm_s16le"], "high384.wav": ["-ar", 384000, "-t", 0.05, "-c:a", "pcm_s16le"],
            "mono.mp3": ["-c:a", "libmp3lame", "-b:a", "32k"], "mono.flac": ["-c:a", "flac"],
            "opus.ogg": ["-c:a", "libopus", "-b:a", "24k"], "vorbis.ogg": ["-c:a", "libvorbis"],
            "aac.m4a": ["-c:a", "aac", "-b:a", "32k"]}.items():
        ffmpeg(*source, *options, folder / name)
    pcm.unlink()
    spoken = folder / "spoken.wav"
    subprocess.run(["espeak-ng", "-v", "en", "-s", "170", "-w", str(spoken), "seven red squares"], check=True)
    ffmpeg("-i", spoken, "-ar", rate, "-ac", 1, "-c:a", "pcm_s16le", folder / "speech.wav")
    spoken.unlink()


def clips(folder):
    frames = folder / "frame%02d.png"
    for i in range(12):
        image = Image.new("RGB", (64, 48), (20, 20 * i, 200))
        ImageDraw.Draw(image).rectangle((4 * i, 10, 4 * i + 15, 30), fill=(240, 200, 0))
        image.save(str(frames) % i)
    sound = ["-f", "lavfi", "-i", "sine=frequency=600:sample_rate=16000:duration=1.2"]
    video = ["-framerate", 10, "-i", frames]
    ffmpeg(*video, *sound, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", 20, "-c:a", "aac", "-b:a", "32k", "-shortest", folder / "clip.mp4")
    ffmpeg(*video, "-c:v", "libvpx-vp9", "-b:v", "60k", "-threads", 1, folder / "clip.webm")
    ffmpeg(*video, "-frames:v", 6, "-c:v", "ffv1", "-pix_fmt", "bgr0", folder / "lossless.mkv")
    ffmpeg(*video, "-frames:v", 5, "-c:v", "mjpeg", "-q:v", 6, folder / "clip.avi")
    for i in range(12):
        pathlib.Path(str(frames) % i).unlink()


def mel(samples):
    result = Gemma4AudioFeatureExtractor()([samples.astype(np.float32)], return_tensors="np")
    return result["input_features"][0][result["input_features_mask"][0]]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    expected = {}
    for name, data in images().items():
        (OUT / name).write_bytes(data)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        if name == "grey16.png":  # Pillow cuts 16-bit grey off at 255; the high byte is the picture
            image = Image.fromarray((np.asarray(Image.open(io.BytesIO(data))) >> 8).astype(np.uint8)).convert("RGB")
        expected[f"pixels.{name}"] = torch.from_numpy(np.asarray(image).copy())
    # Every order of the two passes, up and down.
    source = scene(61, 43, 3)
    expected["resize.source"] = torch.from_numpy(np.asarray(source).copy())
    for width, height in [(96, 48), (13, 7), (200, 3), (61, 20), (20, 43), (60, 90), (55, 11), (7, 100), (1, 1), (58, 38), (40, 1)]:
        expected[f"resize.{width}x{height}"] = torch.from_numpy(np.asarray(source.resize((width, height), Image.BICUBIC)).copy())
    sizes = []
    for width, height in [(1920, 1080), (640, 480), (224, 224), (3000, 200), (100, 4000), (1, 1), (37, 26), (5000, 40), (48, 48),
                          (4032, 3024), (1, 300), (700, 9), (1200, 1), (4000, 4000), (47, 2000)]:
        for budget in (70, 140, 280, 560, 1120):
            try:
                size = get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
            except ValueError:
                size = (0, 0)
            sizes.append([width, height, budget, size[1], size[0]])
    expected["sizes"] = torch.tensor(sizes, dtype=torch.int32)
    for budget in (70, 280):
        processed = Gemma4ImageProcessorPil(max_soft_tokens=budget)(images=[scene(90, 60, 4)], return_tensors="np")
        positions = processed["image_position_ids"][0]
        real = (positions != -1).all(-1)
        values = processed["pixel_values"][0][real]
        expected[f"patches{budget}.positions"] = torch.from_numpy(positions[real].astype(np.int32))
        expected[f"patches{budget}.values"] = torch.from_numpy(np.round(values * 255).astype(np.uint8)[::17].copy())
    expected["patches.source"] = torch.from_numpy(np.asarray(scene(90, 60, 4)).copy())

    sounds(OUT)
    clips(OUT)
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)
    features = mel(tone)
    expected["mel.tone"] = torch.from_numpy(features[[0, 1, 50, 98]].astype(np.float32))
    assert features.shape[0] == 99 and abs(features.sum() + 63570.99) < 1, (features.shape, features.sum())
    rng = np.random.default_rng(5)
    for length in (161, 321, 1600, 8000, 8001):
        noise = rng.normal(0, 0.2, length).astype(np.float32)
        if length == 1600:
            expected["mel.noise.samples"] = torch.from_numpy(noise)
            expected["mel.noise"] = torch.from_numpy(mel(noise).astype(np.float32))
        expected[f"mel.frames.{length}"] = torch.tensor([mel(noise).shape[0]], dtype=torch.int32)
    speech = np.frombuffer((OUT / "speech.wav").read_bytes()[-2 * 8000:], "<i2").astype(np.float32) / 32768
    expected["mel.speech.samples"] = torch.from_numpy(speech)
    expected["mel.speech"] = torch.from_numpy(mel(speech).astype(np.float32)[::3].copy())

    choices = []
    for total in (1, 5, 31, 32, 33, 100, 999, 7201):
        for fps in (10.0, 23.976, 24.0, 29.97, 60.0):
            metadata = VideoMetadata(total_num_frames=total, fps=fps)
            for wanted in (0.5, 1.0, 2.0, 4.0):
                indices = default_sample_indices_fn(metadata, fps=wanted)
                choices.append([total, round(fps * 1000), round(wanted * 10), len(indices), indices[-1], indices.sum()])
        for count in (1, 8, 32):
            if count <= total:
                indices = default_sample_indices_fn(VideoMetadata(total_num_frames=total, fps=24.0), num_frames=count)
                choices.append([total, 0, count, len(indices), indices[-1], indices.sum()])
    expected["frames"] = torch.tensor(choices).to(torch.int32)
    save_file(expected, OUT / "expected.safetensors", metadata={"pillow": Image.__version__, "transformers": transformers.__version__})
    print(f"{sum(f.stat().st_size for f in OUT.iterdir()) / 1e3:.0f} kB in {len(list(OUT.iterdir()))} files")


if __name__ == "__main__":
    main()
