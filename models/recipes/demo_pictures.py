"""Writes models/demo/pictures: the 100 pictures of cifar10-val that no reported figure counts."""

import zipfile

from outrider_recipes import cifar10
from outrider_recipes.run import log, parse_arguments


def main() -> None:
    arguments = parse_arguments(__doc__)
    folder = arguments.models / "demo" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(arguments.data / "cifar10-val.zip") as archive:
        ids = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for identifier in sorted(cifar10.demo_ids(ids)):
            (folder / identifier.replace("/", "-")).write_bytes(archive.read(identifier))
    log(f"wrote {len(list(folder.iterdir()))} pictures")


if __name__ == "__main__":
    main()
