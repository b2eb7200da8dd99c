"""What several test files need to make image files."""

import io

from PIL import Image


def encode(image, image_format="PNG", **options):
    """Return an image (array or PIL image) as a file object."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, image_format, **options)
    file.seek(0)
    return file
