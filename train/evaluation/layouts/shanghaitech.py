"""ShanghaiTech Campus, as its authors publish it.

training/videos/01_001.avi (or training/frames/01_001/0.jpg)   testing/frames/01_0014/000.jpg
testing/test_frame_mask/01_0014.npy   testing/test_pixel_mask/01_0014.npy (optional)
"""

from __future__ import annotations

from pathlib import Path

from edge.errors import FootageError
from train.evaluation.layouts.clips import clips, first_of
from train.evaluation.layouts.labels import labelled, paired
from train.evaluation.layouts.layout import STATIC, Layout, missing
from train.evaluation.layouts.masks import ArrayMasks
from train.evaluation.truth import DataSet

FPS = 24.0
_ONE_CLASS = 107  # test videos of the authors' split


def recognises(root: Path) -> bool:
    return (root / "testing" / "test_frame_mask").is_dir()


def read(root: Path) -> DataSet:
    testing = root / "testing"
    tests = clips(testing / "frames")
    if not tests or not recognises(root):
        raise missing("shanghaitech", "testing/frames/01_0014/*.jpg and testing/test_frame_mask/*.npy", root)
    videos = tuple(
        labelled(clip.name, clip, table, FPS, _masks(testing, clip))
        for clip, table in paired(tests, testing / "test_frame_mask", ".npy")
    )
    train = first_of(root, "training/videos", "training/frames")
    normal = tuple(clips(train)) if train else ()
    return DataSet(root.name, "shanghaitech", videos, normal, f"{_split(len(videos))} {STATIC}")


def _split(count: int) -> str:
    """Two splits go by the same name; their figures must not be compared."""
    known = "the authors' one-class split (training without anomalies)"
    here = known if count == _ONE_CLASS else f"not {known}, which has {_ONE_CLASS}"
    return (
        f"ShanghaiTech, {count} test videos: {here}. "
        "Figures on the weakly supervised split (199 test videos) are not comparable."
    )


def _masks(testing: Path, clip: Path) -> ArrayMasks | None:
    folder = testing / "test_pixel_mask"
    path = folder / f"{clip.name}.npy"
    if folder.is_dir() and not path.is_file():
        raise FootageError(f"{clip} has no masks: looked for {path}; copy the set again.")
    return ArrayMasks(path) if path.is_file() else None


LAYOUT = Layout("shanghaitech", "testing/test_frame_mask", recognises, read)
