"""The drive as a file system: ISO 9660 with the long names of Rock Ridge and Joliet, padded to a volume's
size.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

VOLUME_BYTES = 4 << 20


def disc(label: str, files: Mapping[str, str]) -> bytes:
    """The image of a CD with these texts, by path; raises ``ValueError`` when they are too many for it."""
    import pycdlib  # here, since only who makes a drive needs it

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=label, rock_ridge="1.09", joliet=3)
    made: dict[str, str] = {"": ""}
    for number, (path, text) in enumerate(sorted(files.items())):
        *folders, name = path.strip("/").split("/")
        place = short = ""
        for folder in folders:
            place = f"{place}/{folder}"
            short = f"{short}/{folder[:8].upper()}"
            if place not in made:
                made[place] = short
                iso.add_directory(short, rr_name=folder, joliet_path=place)
        content = text.encode()
        iso.add_fp(io.BytesIO(content), len(content), f"{short}/F{number}.;1", rr_name=name, joliet_path=path)
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    image = out.getvalue()
    if len(image) > VOLUME_BYTES:
        raise ValueError(f"the files have {len(image)} bytes together; {VOLUME_BYTES} are possible")
    return image.ljust(VOLUME_BYTES, b"\0")
