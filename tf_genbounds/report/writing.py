"""Writes files whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile


@contextlib.contextmanager
def output_folder(folder):
    """Collects files that are moved into `folder` together, at the end.

    Args:
        folder: Where the files go; created if it is missing. Files of the
            same names are replaced.

    Yields:
        `pathlib.Path` of an empty folder to write the files to. When the block
        raises, it is removed with all that is in it, and so is `folder` if it
        is new.

    Raises:
        OSError: If the folder cannot be made or written to, in one line and
            before the block runs.
    """
    folder = pathlib.Path(folder).absolute()
    new = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = pathlib.Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    except OSError as error:
        _remove_empty(new)
        raise _unwritable(folder, error) from None
    try:
        yield staging
    except BaseException:  # Ctrl-C too.
        _remove(staging, new)
        raise
    try:
        for file in sorted(staging.iterdir()):
            os.replace(file, folder / file.name)
    except OSError as error:
        _remove(staging, new)
        raise _unwritable(folder, error) from None
    staging.rmdir()


def _remove(staging, new):
    shutil.rmtree(staging, ignore_errors=True)
    _remove_empty(new)


def _remove_empty(folders):
    for folder in folders:  # The innermost first.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _unwritable(folder, error):
    return OSError(
        f"The output folder cannot be written to ({error.strerror}). "
        f"Received: out={str(folder)!r}"
    )
