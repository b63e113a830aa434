"""safetensors files that come out the same every time: the library writes metadata keys in a random order."""
import json

from safetensors.torch import save


def save_file(tensors, path, metadata):
    """As safetensors.torch.save_file, with the keys of __metadata__ sorted."""
    data = save(tensors, metadata=metadata)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8, as the library has it
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length:])
