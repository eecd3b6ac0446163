"""Which files are images: by their suffix, and where the suffix does not say, by their first bytes."""

import importlib.util
import os
import re
import stat
from functools import lru_cache

IMAGE_SUFFIXES = (
    ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip

_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_AVIF_SUFFIXES = (".avif",)

_HIDDEN = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
    "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot",
    "__macosx", "__pycache__", "$recycle.bin", "recycler", "system volume information", "lost+found",
    "network trash folder", "temporary items",
}  # fmt: skip

# Cameras' raw files begin as TIFF does, and Pillow would read the small picture for the camera's display.
_RAW = "camera raw; export it as PNG or JPEG"
_OTHER_SUFFIXES = dict.fromkeys(
    (".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf",
     ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    _RAW,
) | dict.fromkeys(
    (".aae", ".avi", ".cfg", ".doc", ".docx", ".gz", ".h5", ".hdf5", ".htm", ".html", ".ini", ".ipynb",
     ".json", ".lock", ".log", ".mat", ".md", ".mov", ".mp3", ".mp4", ".npy", ".npz", ".parquet",
     ".pdf", ".pkl", ".py", ".rar", ".rst", ".sh", ".sqlite", ".tar", ".toml", ".txt", ".wav", ".xls",
     ".xlsx", ".xml", ".xmp", ".yaml", ".yml", ".zip"),
    "no image",
) | dict.fromkeys(
    (".ai", ".czi", ".dcm", ".dds", ".eps", ".exr", ".fits", ".hdr", ".ico", ".ims", ".lif", ".nd2", ".nii", ".pcx",
     ".psd", ".qoi", ".svg", ".tga", ".xcf"),
    "a format that is not read; export it as PNG, JPEG or TIFF",
)  # fmt: skip

_OTHER_SUFFIXES |= dict.fromkeys(
    (".csv", ".jsonl", ".ndjson", ".tsv"), "no image; a table of labels is read if dataset.label_file names it"
)

_FIRST_BYTES = 64
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def is_hidden(name: str) -> bool:
    """Return True for what a system or a program put among the images: hidden, a preview, a bin, a cache."""
    return name.startswith(".") or name.lower() in _HIDDEN


def why_no_image(path: str, suffix: str) -> str | None:
    """Return why a file is no image that can be read here, or None if it is one.

    A file is opened only if its suffix does not say what it is.

    Args:
        path: of a regular file.
        suffix: of its name, in lower case, with the dot; may be empty.
    """
    if suffix in IMAGE_SUFFIXES:
        return None
    if suffix in _HEIF_SUFFIXES:
        return _why_not_readable("HEIC", f"suffix {suffix}")
    if suffix in _AVIF_SUFFIXES:
        return _why_not_readable("AVIF", f"suffix {suffix}")
    if suffix in _OTHER_SUFFIXES:
        return f"suffix {suffix} ({_OTHER_SUFFIXES[suffix]})"
    named = _suffix_text(suffix)
    try:
        first = _first_bytes(path)
    except OSError as error:
        return f"cannot be opened ({error.strerror or error})"
    kind = format_of(first)
    if kind is None:
        return f"{named}, and the content is no image"
    return _why_not_readable(kind, named)


def format_of(first: bytes) -> str | None:
    """Return the format of an image file, or None if it is none that is known.

    Args:
        first: bytes of the file, 64 or all it has.
    """
    brand = first[8:12] if first[4:8] == b"ftyp" else b""
    if first.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if first.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if first.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if first.startswith(b"RIFF") and first[8:12] == b"WEBP":
        return "WebP"
    if first.startswith(b"BM") and first[6:10] == b"\0\0\0\0" and first[14:18] in _BMP_HEADERS:
        return "BMP"
    if re.match(rb"P[1-6]\s+(#|\d)", first):
        return "PNM"
    if first.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG 2000"
    if first.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    brands = {brand, *(first[i : i + 4] for i in range(16, min(len(first), int.from_bytes(first[:4], "big")), 4))}
    if brand and brands & _AVIF_BRANDS:
        return "AVIF"
    if brand and brands & _HEIF_BRANDS:
        return "HEIC"
    return None


def first_bytes_format(path: str) -> str | None:
    """Return the format of a file as `format_of` does, or None if it cannot be opened."""
    try:
        return format_of(_first_bytes(path))
    except OSError:
        return None


def how_to_read(kind: str) -> str | None:
    """Return what to do so that a format can be read here, or None if it can."""
    if kind == "HEIC" and importlib.util.find_spec("pillow_heif") is None:
        return "install pillow-heif (pip install 'mt-sweeps[heif]'), or save it as JPEG or PNG"
    if kind == "AVIF" and not _reads_avif():
        return "install a Pillow that reads AVIF, or save it as JPEG or PNG"
    if kind == "JPEG XL":
        return "save it as JPEG or PNG"
    return None


@lru_cache(maxsize=1)
def register_formats() -> None:
    """Let Pillow read HEIC, if its library is installed."""
    if importlib.util.find_spec("pillow_heif") is not None:
        from pillow_heif import register_heif_opener

        register_heif_opener()


_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}


def _why_not_readable(kind: str, named: str) -> str | None:
    todo = how_to_read(kind)
    return None if todo is None else f"{named} ({kind}; {todo})"


@lru_cache(maxsize=1)
def _reads_avif() -> bool:
    from PIL import features

    return bool(features.check("avif"))


def _suffix_text(suffix: str) -> str:
    if not suffix:
        return "no suffix"
    return f"unknown suffix {suffix}" if re.fullmatch(r"\.[a-z0-9_~-]{1,10}", suffix) else "an unusual suffix"


def _first_bytes(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO that took the file's place would wait for a writer
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        return os.read(handle, _FIRST_BYTES)
    finally:
        os.close(handle)
