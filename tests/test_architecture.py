"""Check the imports between packages, and that each third-party library is used in one place."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMON = {"config", "errors", "tokenizer", "utils", "video"}  # any package may import these
ARROWS = {
    "data": "media",
    "data_tools": "data media prompts",
    "demo": "checkpoint evaluation media pipeline prompts",
    "evaluation": "checkpoint data distributed media pipeline prompts",
    "gan": "data distributed models prompts",
    "pipeline": "checkpoint media models prompts",
    "t2vgan": "evaluation pipeline training",
    "training": "checkpoint data distributed evaluation gan media models pipeline prompts tracking",
    "commands": "checkpoint demo media pipeline prompts training",
    "evaluate": "evaluation",
    "generate": "commands",
    "train": "commands",
}
WITHOUT_ARROWS = {
    "__main__",
    "checkpoint",
    "distributed",
    "media",
    "models",
    "pretrained",
    "prompts",
    "report",
    "tracking",
}
LIBRARIES = {
    "accelerate": "distributed",
    "aiohttp": "data",
    "av": "data_tools media",
    "fastapi": "demo",
    "fsspec": "data",
    "gradio": "demo",
    "huggingface_hub": "pipeline",
    "jinja2": "report",
    "rich": "tracking training",
    "safetensors": "checkpoint",
    "starlette": "demo",
    "tensorboard": "tracking",
    "tokenizers": "pipeline",
    "uvicorn": "demo",
    "vizdoom": "data_tools",
    "wandb": "tracking",
    "webdataset": "data data_tools",
}
WITHOUT_TORCH = {
    "__main__",
    "config",
    "data",
    "data_tools",
    "errors",
    "media",
    "prompts",
    "report",
    "tokenizer",
    "utils",
}


def package_of(name: str) -> str:
    """Return "media" for t2vgan.media.clips and "data_tools" for data_tools.build.journal."""
    parts = name.split(".")
    return parts[1] if parts[0] == "t2vgan" and len(parts) > 1 else parts[0]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted([*ROOT.glob("t2vgan/**/*.py"), *ROOT.glob("data_tools/**/*.py")]):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path
    yield from ((path.stem, path) for path in ROOT.glob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full names that a file imports anywhere, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute_module(path, node)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def absolute_module(path: Path, node: ast.ImportFrom) -> str:
    """Return the full name of the module that an import names."""
    if not node.level:
        return node.module or ""
    folders = path.relative_to(ROOT).parent.parts
    assert folders[0] == "data_tools", f"{path}:{node.lineno}: relative import"
    base = folders[: len(folders) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def imports_between_packages() -> dict[tuple[str, str], list[str]]:
    """Return the modules behind each arrow (from, to) between two of our packages."""
    packages = {package_of(name) for name, _ in modules()}
    arrows: dict[tuple[str, str], list[str]] = {}
    for name, path in modules():
        for imported in imports(path):
            arrow = package_of(name), package_of(imported)
            if imported.split(".")[0] in ("t2vgan", "data_tools") and arrow[1] in packages:
                arrows.setdefault(arrow, []).append(f"{name} -> {imported}")
    return {arrow: names for arrow, names in arrows.items() if arrow[0] != arrow[1]}


def test_every_package_is_listed_and_no_other():
    listed = COMMON | set(ARROWS) | WITHOUT_ARROWS
    assert listed - {"pretrained"} == {package_of(name) for name, _ in modules()}


def test_every_import_follows_an_arrow():
    allowed = {(start, end) for start, ends in ARROWS.items() for end in ends.split()}
    found = imports_between_packages()
    wrong = [
        names
        for (start, end), names in found.items()
        if end not in COMMON | {"t2vgan"} and (start, end) not in allowed
    ]
    assert not wrong


def test_every_arrow_is_used():
    found = imports_between_packages()
    unused = [
        f"{start} -> {end}"
        for start, ends in ARROWS.items()
        for end in ends.split()
        if (start, end) not in found
    ]
    assert not unused


def test_common_packages_do_not_import_others():
    found = imports_between_packages()
    assert not [
        names
        for (start, end), names in found.items()
        if start in COMMON and end not in COMMON | {"t2vgan"}
    ]


def test_each_library_is_used_in_one_place():
    wrong = [
        f"{name} -> {imported}"
        for name, path in modules()
        for imported in imports(path)
        if package_of(name) not in LIBRARIES.get(imported.split(".")[0], package_of(name)).split()
    ]
    assert not wrong


def test_data_tools_imports_itself_relatively():
    """A wheel installs it as t2vgan.data_tools, a checkout has it as data_tools."""
    paths = ROOT.glob("data_tools/**/*.py")
    wrong = [
        path for path in paths if re.search(r"(?m)^\s*(from|import) data_tools\b", path.read_text())
    ]
    assert not wrong


def test_packages_without_torch_do_not_load_it():
    names = [
        name
        for name, _ in modules()
        if package_of(name) in WITHOUT_TORCH or name.startswith("t2vgan.tracking.watch")
    ]
    assert len(names) > len(WITHOUT_TORCH)
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    command = [sys.executable, "-c", script, *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# --- names and docstrings ---

BANNED = {"alone", "hear", "knock", "meet", "owe", "owed", "take", "tell", "told"}  # in a name
MAX_WORDS = 12  # of a docstring's first line


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield each source file's path and syntax tree."""
    for folder in folders:
        for path in sorted(ROOT.glob(folder)):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a file gives to functions, classes, arguments and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_no_name_makes_a_person_of_a_program():
    wrong = [
        f"{path}: {name}"
        for path, tree in sources(
            "*.py", "t2vgan/**/*.py", "data_tools/**/*.py", "tests/**/*.py", "benchmarks/**/*.py"
        )
        for name in defined_names(tree)
        if name == "word"
        or (not name.startswith("test_") and BANNED & set(name.lower().split("_")))
    ]
    assert not wrong


def test_no_two_classes_share_a_name():
    classes: dict[str, list[str]] = {}
    for path, tree in sources("*.py", "t2vgan/**/*.py", "data_tools/**/*.py"):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in classes.items() if len(paths) > 1} == {}


def test_docstrings_begin_with_one_short_line():
    wrong = []
    for path, tree in sources("*.py", "t2vgan/**/*.py", "data_tools/**/*.py", "benchmarks/**/*.py"):
        assert ast.get_docstring(tree), f"{path} has no docstring"
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                first, *rest = (ast.get_docstring(node) or "").split("\n")
                if len(first.split()) > MAX_WORDS or (rest and rest[0].strip()):
                    wrong.append(f"{path}: {first}")
    assert not wrong


def test_text_reaches_the_terminal_through_one_door():
    """It may hold names and captions of others, with codes that a terminal would obey."""
    wrong = [
        f"{path}: line {node.lineno}"
        for path, tree in sources("*.py", "t2vgan/**/*.py", "data_tools/**/*.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not wrong


def test_json_of_others_is_parsed_behind_one_door():
    """There it has limits; what our own processes exchange needs none."""
    own = {
        "data_tools/videos/input_list/parquet.py",
        "data_tools/videos/sandbox.py",
        "data_tools/videos/spool.py",
        "t2vgan/checkpoint/tensor_files.py",
        "t2vgan/distributed/peers.py",
        "t2vgan/utils/untrusted.py",
    }
    parsing = {
        path
        for path, tree in sources("*.py", "t2vgan/**/*.py", "data_tools/**/*.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.load", "json.loads")
    }
    assert parsing == own


def test_init_files_hold_a_docstring_and_imports_only():
    wrong = [
        f"{path}: line {node.lineno}"
        for path, tree in sources("t2vgan/*/**/__init__.py", "data_tools/**/__init__.py")
        for node in tree.body[1:]
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)
    ]
    assert not wrong
