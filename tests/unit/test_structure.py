"""The package's structure: small modules and packages, no import cycles, public paths that stay.

The directions of imports stand in pyproject.toml under `tool.importlinter`.
"""

import ast
import functools
import graphlib
import itertools
import re
from pathlib import Path

import grimp

from support.command import ROOT

SRC = ROOT / "src"
MOST_MODULES = 12  # of a package; a package inside it counts as one
MOST_LINES = 300  # of a module
# What conf/ and users' files name. The paths are part of every fingerprint: earlier runs cannot be
# resumed where one of them changes. So paths are added here, and none is taken away.
PUBLIC = {
    "optsweep.data.Source",
    "optsweep.data.Split",
    "optsweep.data.digits",
    "optsweep.data.image_folder",
    "optsweep.data.make_source",
    "optsweep.data.torchvision_source",
    "optsweep.models.CNN",
    "optsweep.models.MLP",
    "optsweep.models.ScratchSoftmax",
    "optsweep.models.Softmax",
    "optsweep.models.cross_entropy",
    "optsweep.models.mse",
    "optsweep.models.nll",
    "optsweep.models.resnet18",
    "optsweep.models.scratch_cross_entropy",
    "optsweep.models.timm_model",
    "optsweep.optim.Routed",
    "optsweep.optim.ScratchSGD",
}
MODULES = {str(path.relative_to(SRC)): path for path in sorted(SRC.rglob("*.py"))}
PACKAGES = sorted({path.parent for path in MODULES.values()} - {SRC / "optsweep"})
IMPORT = r"(?:from|import) ((?:hydra_plugins\.)?optsweep[\w.]*)(?: import (\w+(?:, \w+)*))?"
# Where modules may be named in strings: public names, imported late, and the server of workers.
NAMING = ("optsweep/system/lazy.py", "optsweep/execution/")


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("optsweep", "hydra_plugins.optsweep", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the modules


def test_packages_are_small() -> None:
    sizes = {
        str(package.relative_to(SRC)): len(
            [*package.glob("[!_]*.py"), *package.glob("*/__init__.py")]
        )
        for package in PACKAGES
    }
    assert {package: size for package, size in sizes.items() if size > MOST_MODULES} == {}


def test_modules_are_short() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_string_names_a_module() -> None:
    """To import it would get round the directions. A plugin names itself, for Hydra to find."""
    named = {
        name: sorted(text for text in texts(path) if is_module(text) and not is_in(text, path))
        for name, path in MODULES.items()
        if not name.startswith(NAMING)
    }
    assert {name: found for name, found in named.items() if found} == {}


def test_no_module_is_imported_by_a_name_that_is_put_together() -> None:
    late = [
        name
        for name, path in MODULES.items()
        if re.search(r"import_module|__import__", path.read_text())
    ]
    assert late == ["optsweep/system/lazy.py"]


def test_private_parts_of_hydra_and_omegaconf_stand_in_a_module_each() -> None:
    pattern = r"(?:hydra|omegaconf)\.(?:\w+\.)*_|(?:core_)?utils\._"
    using = [name for name, path in MODULES.items() if re.search(pattern, path.read_text())]
    assert using == ["optsweep/cli/compat/hydra.py", "optsweep/cli/compat/omegaconf.py"]


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by it."""
    names = sorted(path.name for path in (SRC.parent / "tests").rglob("test_*.py"))
    assert [name for name, after in itertools.pairwise(names) if name == after] == []


def texts(path: Path) -> set[str]:
    """The strings in a file's code."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant)}


def is_module(text: str) -> bool:
    """Whether a text is a module's name, or that of something in one; a tag in MLflow is not."""
    if not re.fullmatch(r"(optsweep|hydra_plugins)(\.\w+)+", text):
        return False
    path = SRC / text.replace(".", "/")
    places = [path, path.parent] if path.parent != SRC / "optsweep" else [path]
    return any(place.is_dir() or place.with_suffix(".py").exists() for place in places)


def is_in(text: str, path: Path) -> bool:
    """Whether a text names something in this module."""
    return text.startswith(".".join(path.relative_to(SRC).with_suffix("").parts))


def test_every_path_that_conf_names_is_public() -> None:
    options = (ROOT / "conf").glob("*/*.yaml")
    named = {
        path
        for option in options
        for path in re.findall(r"^_target_: (optsweep\..+)$", option.read_text(), re.M)
    }
    assert named and named <= PUBLIC


def test_public_paths_stay_and_resolve() -> None:
    """Read rather than imported: importing the models imports torch."""
    given = {
        f"optsweep.{package.name}.{name}": package / f"{module}.py"
        for package in PACKAGES
        for name, module in public_names(package / "__init__.py").items()
    }
    assert given.keys() == PUBLIC
    for path, module in given.items():
        defined = {getattr(node, "name", "") for node in ast.parse(module.read_text()).body}
        assert path.rpartition(".")[2] in defined, path


def test_names_that_texts_give_exist() -> None:
    """A page, an option or a test that names a module or something in it names one that exists."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    options = (ROOT / "conf").rglob("*.yaml")
    code = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]
    unknown = {
        (file.name, name)
        for file in [*pages, *options, *code]
        for name in re.findall(
            r"(?<![\w./-])(?:hydra_plugins\.)?optsweep(?:\.\w+){2,}", file.read_text()
        )
        if not exists(name)
    }
    assert unknown == set()


def test_programs_in_texts_import_what_exists() -> None:
    code = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").glob("*.md")]
    imports = [
        (file.name, f"{module}.{name}".rstrip("."))
        for file in code
        for module, names in re.findall(IMPORT, file.read_text())
        for name in names.split(", ")
    ]
    assert [found for found in imports if not exists(found[1])] == []


@functools.cache
def exists(name: str) -> bool:
    """Whether a dotted name is a module, something in one, a public name or a tag in MLflow."""
    place, parts = SRC, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if not parts or parts[0] in public_names(place / "__init__.py") or is_tag(name):
        return True
    module = place / f"{parts.pop(0)}.py"
    return module.exists() and (
        not parts or re.search(rf"\b{parts[0]}\b", module.read_text()) is not None
    )


def is_tag(name: str) -> bool:
    """Whether the package sets or reads a tag of that name, under `optsweep.` or with it."""
    tag = name.removeprefix("optsweep.")
    group = tag.partition(".")[0]
    pattern = rf"""["'.]({re.escape(tag)}["']|{group}\.{{)"""
    return re.search(pattern, source()) is not None


@functools.cache
def source() -> str:
    """All modules' text."""
    return "\n".join(path.read_text() for path in MODULES.values())


def test_the_architecture_page_lists_the_packages() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", page, re.M)
    top = {package.name for package in PACKAGES if package.parent == SRC / "optsweep"}
    assert set(listed) == top
    drawn = (ROOT / "docs" / "architecture.svg").read_text()
    assert {package for package in top if f">{package}</tspan>" not in drawn} == set()


@functools.cache
def public_names(init: Path) -> dict[str, str]:
    """The names that a package gives by `public_names`, with their modules."""
    for node in ast.walk(ast.parse(init.read_text())) if init.exists() else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "public_names":
            found: dict[str, str] = ast.literal_eval(node.args[1])
            return found
    return {}
