"""Blood cells in microscope images: boxes of three classes, by a small detector that is trained from nothing.

tidemill dataset import cells bccd.tar.gz
tidemill dataset create cells --project cells --split-field split
tidemill train examples/cells/run.py
tidemill gate cells.weights

The archive is Pascal VOC's layout: `JPEGImages/`, `Annotations/`, `ImageSets/Main/`.
"""

from training.augmentation import augmentation
from training.config import Dataset, Optimiser, Schedule, Training
from training.tasks.detection import Detection

CLASSES = ("RBC", "WBC", "Platelets")


def run() -> Training:
    # Cells lie any way up, and slides are lit as they happen to be.
    changed = augmentation(
        *("RandomHorizontalFlip", "RandomVerticalFlip"),
        ("ColorJitter", {"brightness": 0.2, "contrast": 0.2}),
    )
    return Training(
        name="cells",
        task=Detection(classes=CLASSES, size=320, augmentation=changed),
        data=Dataset(dataset="cells", epochs=20),
        batch=8,
        optimiser=Optimiser(rate=2e-3, decay=0.01),
        schedule=Schedule(kind="cosine", warm_up=20),
        clip=10.0,
        threads=1,
    )
