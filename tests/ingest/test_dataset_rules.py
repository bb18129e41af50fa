"""Rules of a folder: excluded images are removed, and the rules are remembered."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.rebuild import RebuildOptions, rebuild
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.subset import Subset

PATHS = ("train/cat/1.png", "train/cat/2.png", "val/dog/3.png", "@eaDir/4.png", "5.png")


Draw = Callable[..., list[Path]]


class Album:
    """A folder `root` that is ingested with different rules."""

    def __init__(self, root: Path, home: Settings, spec: ModelSpec) -> None:
        self.root, self.home, self.spec = root, home, spec
        self.store = EmbeddedStore(home.qdrant_dir)

    def ingest(
        self,
        *,
        rules: RuleChoice | None = None,
        distances: Sequence[Distance] = (Distance.COSINE,),
        subset: Subset | None = None,
        **fields: bool,
    ) -> IngestReport:
        """Runs an ingest as the command does."""
        request = IngestRequest(
            dataset=Dataset(name="data", root=self.root),
            specs=[self.spec],
            distances=distances,
            rules=rules or RuleChoice(),
            subset=subset,
            **fields,  # type: ignore[arg-type]
        )
        return run_ingest(request, store=self.store, settings=self.home, stop=StopRequest())

    def stored(self, distance: Distance = Distance.COSINE) -> Mapping[str, str | None]:
        """Returns the classes in a collection, by path."""
        (name,) = (name for name in self.store.names() if name.endswith(f"-{distance}"))
        with self.store.open(name) as collection:
            return {payload.path: payload.class_name for payload in collection.scan()}

    def rules(self, distance: Distance = Distance.COSINE) -> FolderRules:
        """Returns the rules that a collection remembers."""
        (name,) = (name for name in self.store.names() if name.endswith(f"-{distance}"))
        return self.store.manifest(name).rules_of("data")


@pytest.fixture
def album(tmp_path: Path, home: Settings, tiny_spec: ModelSpec, draw: Draw) -> Album:
    """Draws five images, one of them a thumbnail as a NAS makes it."""
    draw(tmp_path / "data", *PATHS)
    return Album(tmp_path / "data", home, tiny_spec)


EVERYTHING = RuleChoice(default_excludes=False)


def test_newly_excluded_images_are_removed_without_pruning(album: Album) -> None:
    """They are listed, in a dry run too; points of deleted files stay."""
    album.ingest(rules=EVERYTHING)
    (album.root / "5.png").unlink()
    excluded = ["@eaDir/4.png", "val/dog/3.png"]
    for dry_run in (True, False):
        assert album.stored().keys() == set(PATHS)
        (report,) = album.ingest(
            rules=RuleChoice(exclude=["dog"], default_excludes=True), dry_run=dry_run
        ).collections
        assert report.removed == excluded
        assert (report.counts["removed"], report.counts["excluded"]) == (2, 2)
    assert album.stored().keys() == set(PATHS) - set(excluded)


def test_pruning_reports_how_many_removed_images_are_excluded(album: Album) -> None:
    """The other removed points are of deleted files."""
    album.ingest()
    (album.root / "5.png").unlink()
    (report,) = album.ingest(rules=RuleChoice(exclude=["dog"]), prune=True).collections
    assert report.removed == ["5.png", "val/dog/3.png"]
    assert (report.counts["removed"], report.counts["excluded"]) == (2, 1)


def test_excluding_every_image_needs_force(album: Album) -> None:
    """Refused runs do not change the remembered rules."""
    album.ingest()
    with pytest.raises(UsageError, match=r"what is excluded \(3 folders, 1 image\)"):
        album.ingest(rules=RuleChoice(exclude=["*"]))
    assert (len(album.stored()), album.rules()) == (4, DEFAULT_RULES)
    album.ingest(rules=RuleChoice(exclude=["*"]), prune=True, force=True)
    assert album.stored() == {}


def test_unreadable_folders_and_exclusion_do_not_empty_a_dataset(album: Album) -> None:
    """The unreadable folders may be on a disk that is not mounted, and all other images are excluded."""
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("the user of this process may read every folder")
    album.ingest()
    (album.root / "train").chmod(0)
    try:
        report = album.ingest(rules=RuleChoice(exclude=["val", "5.png"]))
    finally:
        (album.root / "train").chmod(0o700)
    assert (report.collections[0].removed, len(album.stored())) == ([], 4)


def test_rules_are_remembered_until_others_are_given(album: Album, said: list[str]) -> None:
    """Each rule is independent: a given rule replaces its remembered value only."""
    album.ingest(rules=RuleChoice(exclude=["dog", "5.png"], class_level=2))
    assert album.stored() == {"train/cat/1.png": "cat", "train/cat/2.png": "cat"}
    assert not [line for line in said if line.startswith("the remembered rules")]
    assert album.ingest().collections[0].counts["unchanged"] == 2
    assert "without 'dog', '5.png', classes by folder 2" in "".join(said)
    album.ingest(rules=RuleChoice(exclude=["cat"]))
    assert album.stored() == {"val/dog/3.png": "dog", "5.png": None}
    album.ingest(rules=RuleChoice(exclude=[]))
    assert len(album.stored()) == 4
    assert album.rules() == FolderRules(class_level=2)
    album.ingest(rules=RuleChoice(class_level=1))
    assert album.stored()["val/dog/3.png"] == "val"
    assert album.rules() == DEFAULT_RULES


def test_a_new_collection_copies_the_rules_of_the_dataset(album: Album) -> None:
    """They come from any other collection; afterwards each remembers its own."""
    album.ingest(rules=RuleChoice(exclude=["dog"]))
    album.ingest(distances=[Distance.EUCLID])
    assert album.stored(Distance.EUCLID) == album.stored()
    album.ingest(distances=[Distance.EUCLID], rules=RuleChoice(exclude=["cat"]))
    assert (album.rules().exclude, album.rules(Distance.EUCLID).exclude) == (("dog",), ("cat",))
    assert album.ingest().collections[0].counts["removed"] == 0


def test_conflicting_remembered_rules_are_refused(album: Album) -> None:
    """Rules that are given resolve the conflict."""
    album.ingest(rules=RuleChoice(exclude=["dog"]))
    album.ingest(distances=[Distance.EUCLID], rules=RuleChoice(exclude=["cat"]))
    both = [Distance.COSINE, Distance.EUCLID]
    with pytest.raises(UsageError, match=r"without 'dog'.*without 'cat'") as caught:
        album.ingest(distances=both)
    assert caught.value.hint == Hint(Action.SAY_RULES)
    album.ingest(distances=both, rules=RuleChoice(exclude=["5.png"]))
    assert album.rules() == album.rules(Distance.EUCLID) == FolderRules(exclude=("5.png",))
    assert album.stored() == album.stored(Distance.EUCLID)


def test_a_dry_run_remembers_nothing(album: Album) -> None:
    """It only reports the rules."""
    album.ingest()
    assert album.ingest(rules=RuleChoice(exclude=["dog"]), dry_run=True).found == 3
    assert album.rules() == DEFAULT_RULES


def test_another_class_level_embeds_nothing(album: Album) -> None:
    """Only payloads change; the random sample follows the new classes."""
    album.ingest()
    done = album.ingest(rules=RuleChoice(class_level=-1))
    assert (done.embedded, done.collections[0].counts["updated"]) == (0, 3)
    assert album.stored()["train/cat/1.png"] == "cat"
    assert album.ingest(subset=Subset(max_per_class=1)).not_taken == 1


def test_classes_that_are_parts_of_a_split_are_reported(album: Album, said: list[str]) -> None:
    """They must have subfolders; the hint is to use the next level as classes."""
    assert album.ingest().split_classes == ["train", "val"]
    (line,) = [line for line in said if "parts of a split" in line]
    assert "the classes are train, val" in line
    assert album.ingest(rules=RuleChoice(class_level=2)).split_classes == []
    assert album.ingest(rules=RuleChoice(class_level=-2)).split_classes == []


@pytest.mark.parametrize("path", ["bird/6.png", "Training set/6.png"])
def test_with_another_class_beside_them_split_names_are_classes(album: Album, draw: Draw, path: str) -> None:
    """`train` may be a class of trains, and `test` one of tests."""
    draw(album.root, path)
    assert album.ingest().split_classes == []


def test_split_names_without_folders_below_are_classes(tmp_path: Path, album: Album, draw: Draw) -> None:
    """No deeper folder could be the class."""
    album.root = tmp_path / "flat"
    draw(album.root, "train/1.png", "Test/2.png")
    assert album.ingest().split_classes == []


def test_following_links_is_remembered(album: Album, tmp_path: Path, said: list[str], draw: Draw) -> None:
    """Links that are not followed are counted, with a hint."""
    draw(tmp_path / "elsewhere", "6.png", "more/7.png", seed=9)
    (album.root / "bird").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (album.root / "again").symlink_to(album.root / "train", target_is_directory=True)
    report = album.ingest()
    assert (report.found, report.others.linked_folders) == (4, 2)
    assert "2 links to folders were not followed" in said
    album.ingest(rules=RuleChoice(follow_links=True))
    linked = {"bird/6.png": "bird", "bird/more/7.png": "bird"}
    assert {path: name for path, name in album.stored().items() if path in linked} == linked
    assert album.ingest().collections[0].counts == {"unchanged": 6, "removed": 0}
    assert album.ingest(rules=RuleChoice(follow_links=False)).collections[0].removed == []
    assert album.ingest(prune=True).collections[0].removed == sorted(linked)


def test_a_rebuild_keeps_the_rules_and_every_image(album: Album) -> None:
    """Images that are excluded now are removed by the next ingest, not by the rebuild."""
    album.ingest(rules=EVERYTHING)
    (name,) = album.store.names()
    rules = FolderRules(exclude=("dog",), class_level=2)
    with album.store.open(name) as collection:
        collection.record_dataset("data", str(album.root), rules)
    report = rebuild(name, RebuildOptions(), store=album.store, settings=album.home, stop=StopRequest())
    assert (report.replaced, report.points) == (True, 5)
    assert album.rules() == rules
    assert album.ingest().collections[0].removed == ["@eaDir/4.png", "val/dog/3.png"]
    report = rebuild(name, RebuildOptions(), store=album.store, settings=album.home, stop=StopRequest())
    assert (report.replaced, report.points, album.rules()) == (True, 3, rules)


def test_a_rebuild_keeps_images_behind_links_that_are_not_followed_any_more(
    album: Album, tmp_path: Path, said: list[str], draw: Draw
) -> None:
    """They are found by their stored paths, although another link to the folder exists; no hint is logged."""
    draw(tmp_path / "elsewhere", "6.png", seed=9)
    (album.root / "bird").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    album.ingest(rules=RuleChoice(follow_links=True))
    album.ingest(rules=RuleChoice(follow_links=False))
    (album.root / "another").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    stored, (name,) = album.stored(), album.store.names()
    said.clear()
    report = rebuild(name, RebuildOptions(), store=album.store, settings=album.home, stop=StopRequest())
    assert (report.replaced, report.points, album.stored()) == (True, 5, stored)
    assert not [line for line in said if "not followed" in line or "parts of a split" in line]
    assert not album.rules().follow_links


def test_a_rebuild_reads_no_other_files(album: Album, draw: Draw) -> None:
    """The next ingest adds new files of its folders."""
    album.ingest()
    stored, (name,) = album.stored(), album.store.names()
    draw(album.root, "train/cat/7.png", "train/zoo/8.png", seed=9)
    (album.root / "train/cat/1.png").unlink()
    options = RebuildOptions(force=True)
    report = rebuild(name, options, store=album.store, settings=album.home, stop=StopRequest())
    assert [file.name for file in report.gone_files] == ["1.png"]
    assert (report.skipped, album.stored().keys()) == ([], stored.keys() - {"train/cat/1.png"})


def test_requested_rules_override_remembered_ones() -> None:
    """Each field is overridden on its own."""
    rules = FolderRules(exclude=("a",), default_excludes=False, follow_links=True, class_level=-1)
    assert RuleChoice().over(rules) == RuleChoice.of(rules).over(DEFAULT_RULES) == rules
    assert RuleChoice(follow_links=False).over(rules) == replace(rules, follow_links=False)
    with pytest.raises(UsageError) as caught:
        RuleChoice(class_level=0).over(rules)
    assert caught.value.argument is Argument.CLASS_LEVEL


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("./raw", "write '/raw'"),
        ("!./raw/*.png", "write '!/raw/*.png'"),
        ("../other/raw", "it is outside"),
        ("{root}/raw", "write '/raw'"),
        ("{root}/raw/*.png", "write '/raw/*.png'"),
    ],
)
def test_a_pattern_that_is_not_relative_to_the_folder_is_refused(
    tmp_path: Path, pattern: str, said: str
) -> None:
    """By gitignore's rules it would silently match nothing; the message gives the right form."""
    root = tmp_path.resolve()
    rules = RuleChoice(exclude=[pattern.format(root=root)])
    with pytest.raises(UsageError, match="matches nothing: patterns are relative to") as refused:
        rules.check_for(root)
    assert str(refused.value).endswith(said)
    assert refused.value.argument is Argument.EXCLUDE


def test_patterns_relative_to_the_folder_are_accepted(tmp_path: Path) -> None:
    """A leading slash is the folder itself."""
    for folder in (tmp_path, Path("/")):
        RuleChoice(exclude=["/raw", "raw/", "*.png", "!.photos", "/home/*", ".hidden"]).check_for(folder)


def test_patterns_that_match_nothing_are_reported(album: Album, said: list[str]) -> None:
    """Only patterns of this run are reported, not remembered ones."""
    album.ingest(rules=RuleChoice(exclude=("IMG", "dog", "5.*", "!none")))
    assert "warning: exclude patterns that match nothing here: 'IMG', '!none'" in said
    said.clear()
    album.ingest()
    assert not any("match nothing" in line for line in said)
