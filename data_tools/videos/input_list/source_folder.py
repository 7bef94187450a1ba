"""List and open the files of a source."""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from t2vgan.data.remote import RemoteFolder
from t2vgan.errors import UserError
from t2vgan.utils.untrusted import open_file
from t2vgan.utils.urls import is_url

from ..settings import Access, VideoError
from .file_kinds import find_reason_to_ignore
from .locations import locate
from .rows import PassedOver


class SourceFolder:
    """A folder of files, local or in object storage.

    In a local folder, links may lead outside only with --allow-local.
    """

    def __init__(self, source: str, allow_local: bool = False):
        self.root = source if is_url(source) else os.path.abspath(source)
        self._remote = RemoteFolder(source) if is_url(source) else None
        self._allow_local = allow_local
        self._named = ""  # a file that the user named; it may be a link

    def split_name(self) -> str:
        """Replace a source file by its folder; return the file's name."""
        self.root, _, self._named = self.url.rpartition("/")
        self.root = self.root or "/"
        self._remote = self._remote and RemoteFolder(self.root)
        return self._named

    @property
    def url(self) -> str:
        """The folder's path or URL, to which rows' paths are relative."""
        return self._remote.address if self._remote else self.root

    def is_folder(self) -> bool:
        """Return whether the folder exists."""
        return self._remote.is_folder() if self._remote else os.path.isdir(self.root)

    def is_file(self, name: str) -> bool:
        """Return whether a name is a regular file; a pipe would block."""
        if self._remote:
            return self._remote.is_file(name)
        return os.path.isfile(os.path.join(self.root, name) if name else self.root)

    def list_files(self) -> tuple[list[str], list[PassedOver]]:
        """Return the source's files, sorted, and the skipped ones."""
        names, passed_over = (self._remote.find(), []) if self._remote else _walk(self._access)
        reasons = {name: find_reason_to_ignore(name) for name in names}
        passed_over += [PassedOver(name, reason) for name, reason in reasons.items() if reason]
        return sorted(name for name in names if not reasons[name]), passed_over

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; raise VideoError or OSError."""
        if self._remote:
            return self._remote.open(name)
        path = os.path.join(self.root, name)
        return open_file(path if name == self._named else locate(name, self._access))

    @contextmanager
    def open_list(self, name: str) -> Iterator[BinaryIO]:
        """Open a list; raise UserError or OSError."""
        try:
            file = self.open(name)
        except VideoError as error:
            raise UserError(f"source {self.url}: {error}") from None
        with file:
            yield file

    def read_head(self, name: str, num_bytes: int) -> bytes:
        """Return the first bytes of a file; raise VideoError or OSError."""
        if self._remote:
            try:
                return self._remote.read_head(name, num_bytes)
            except UserError as error:  # the server does not support range requests
                raise VideoError("refused", str(error)) from None
        with self.open(name) as file:
            return file.read(num_bytes)

    @property
    def _access(self) -> Access:
        return Access(self.root, self._allow_local)


def _walk(access: Access) -> tuple[list[str], list[PassedOver]]:
    """Return the paths of all files, and the folders that were skipped.

    Linked folders come last, so that no folder is listed twice and cycles of links end.
    """
    names: list[str] = []
    passed_over: list[PassedOver] = []
    folders, links = deque([""]), deque[str]()
    seen = set[str]()
    while folders or links:
        if not folders:
            link = links.popleft()
            if reason := _refuse_link(link, access, seen):
                passed_over.append(PassedOver(link, reason))
                continue
            folders.append(link)
        folder = folders.popleft()
        whole = os.path.join(access.root, folder)
        if (real := os.path.realpath(whole)) in seen:
            continue
        if not find_reason_to_ignore(folder):  # a link may lead to a hidden folder
            seen.add(real)
        try:
            entries = sorted(os.scandir(whole), key=lambda entry: entry.name)
        except OSError as error:
            passed_over.append(PassedOver(folder, f"the folder cannot be read: {error.strerror}"))
            continue
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_symlink() and entry.is_dir():
                links.append(path)
            else:
                names.append(path)
    return names, passed_over


def _refuse_link(link: str, access: Access, seen: set[str]) -> str:
    """Return why a linked folder is skipped, or an empty string."""
    if reason := find_reason_to_ignore(link):
        return reason
    try:
        real = locate(link, access)
    except VideoError as error:
        return f"a link: {error}"
    return "a link to a folder that is listed elsewhere" if real in seen else ""
