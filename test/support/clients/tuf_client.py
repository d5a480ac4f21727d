"""The reference client of The Update Framework against a hub: from the root of enrolment to the bytes of each target.

tuf_client.py URL BEARER FOLDER ROOT TARGET... prints a line of JSON for each target: its path, its bytes, or why it was refused.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater


class BearerFetcher(FetcherInterface):
    """A hub wants to know the device."""

    def __init__(self, bearer):
        self.bearer = bearer

    def _fetch(self, url):
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {self.bearer}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                yield response.read()
        except urllib.error.HTTPError as error:
            raise DownloadHTTPError(str(error), error.code) from error


url, bearer, folder, root, *targets = sys.argv[1:]
os.makedirs(f"{folder}/targets", exist_ok=True)
with open(root, "rb") as file:
    bootstrap = file.read()
try:
    updater = Updater(
        metadata_dir=f"{folder}/metadata",
        metadata_base_url=f"{url}/tuf/metadata/",
        target_dir=f"{folder}/targets",
        target_base_url=f"{url}/tuf/targets/",
        fetcher=BearerFetcher(bearer),
        bootstrap=bootstrap,
    )
    updater.refresh()
    for target in targets:
        info = updater.get_targetinfo(target)
        if info is None:
            print(json.dumps({"path": target, "found": False}))
            continue
        with open(updater.download_target(info), "rb") as file:
            print(json.dumps({"path": target, "found": True, "bytes": len(file.read()), "sha256": info.hashes["sha256"]}))
except (RepositoryError, DownloadError) as error:
    print(json.dumps({"refused": f"{type(error).__name__}: {error}"}))
