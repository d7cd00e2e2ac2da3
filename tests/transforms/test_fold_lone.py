"""Folding sections of nothing but batch norm: what absorbs them, and the numbers after them."""

from __future__ import annotations

import random

import pytest

import darknet_bn as dn
from darknet_bn.dialect import DIALECTS
from tests.support.builders import cfg_text, network_of, random_model, weights_bytes
from tests.support.folding import BN, CONV, LINEAR, agree, kept


class TestLoneBatchNorm:
    def gone(self, *sections: str, dialect: str = "alexeyab") -> tuple[int, ...]:
        """Fold, check, and return which sections went."""
        model = random_model(cfg_text(*sections), dialect)
        folded = dn.fold_batchnorm(model)
        agree(model, folded)
        alone = [
            row
            for row in dn.fold_report(model)
            if model.network.nodes[row.layer].layer.norm.batch_norm == "alone"
        ]
        names = [node.layer.names[0] for node in folded.network.nodes]
        assert names.count("batchnorm") == sum(row.into is None for row in alone)
        return tuple(row.layer for row in alone if row.into is not None)

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_goes_into_a_linear_layer_in_front(self, dialect: str) -> None:
        assert self.gone(CONV, "[batchnorm]", dialect=dialect) == (1,)
        assert self.gone(f"{CONV} {BN}", "[batchnorm]", CONV, dialect=dialect) == (1,)
        connected = f"[connected] output=6 {LINEAR}"
        assert self.gone(connected, "[batchnorm]", dialect=dialect) == (1,)
        assert self.gone(f"{connected} {BN}", "[batchnorm]", dialect=dialect) == (1,)

    def test_a_chain_of_them_goes_whole(self) -> None:
        sections = (CONV, "[batchnorm]", "[batchnorm]", "[batchnorm]", "[activation]", CONV)
        assert self.gone(*sections) == (1, 2, 3)
        assert self.gone(f"{CONV} {BN}", "[batchnorm]", "[batchnorm]") == (1, 2)

    def test_the_report_names_what_takes_it_up(self) -> None:
        model = random_model(cfg_text(CONV, CONV, "[batchnorm]", "[batchnorm]", f"{CONV} {BN}"))
        rows = [(row.layer, row.section, row.into) for row in dn.fold_report(model)]
        assert rows == [(2, "batchnorm", 1), (3, "batchnorm", 1), (4, "convolutional", 4)]

    def test_stays_where_nothing_in_front_could_take_it_up(self) -> None:
        for sections, reason in (
            (("[batchnorm]", CONV), (0, "it is the first layer: there are no weights before it")),
            (
                (CONV.replace("linear", "leaky"), "[batchnorm]"),
                (1, "layer 0 has no weights that it could be folded into"),
            ),
            (
                (CONV, "[maxpool] size=2", "[batchnorm]"),
                (2, "layer 1 has no weights that it could be folded into"),
            ),
            (
                (CONV, "[dropout]", "[batchnorm]"),
                (2, "layer 1 has no weights that it could be folded into"),
            ),
            (
                (f"{CONV} antialiasing=1", "[batchnorm]"),
                (1, "layer 0 has no weights that it could be folded into"),
            ),
            (
                (CONV, "[batchnorm]", "[route] layers=0,1"),
                (1, "layer 2 also reads layer 0"),
            ),
            (
                (CONV, "[batchnorm]", CONV, "[shortcut] from=0"),
                (1, "layer 3 also reads layer 0"),
            ),
            ((CONV, "[batchnorm] dontloadscales=1"), (1, "dontloadscales: the file has no st")),
            ((CONV, "[batchnorm] dontload=1"), (1, "dontload: the file has no statistics")),
            ((f"{CONV} dontload=1", "[batchnorm]"), (1, "dontload: the file has no weights")),
        ):
            assert self.gone(*sections) == ()
            ((layer, why),) = kept(random_model(cfg_text(*sections)))
            assert layer == reason[0]
            assert why is not None
            assert why.startswith(reason[1])

    def test_a_reader_of_the_first_of_a_chain_keeps_the_rest(self) -> None:
        sections = (CONV, "[batchnorm]", "[batchnorm]", "[route] layers=1,2")
        assert self.gone(*sections) == (1,)
        assert kept(random_model(cfg_text(*sections))) == [(2, "layer 3 also reads layer 1")]

    def test_of_several_readers_the_first_is_named(self) -> None:
        sections = (CONV, "[batchnorm]", "[route] layers=0", "[route] layers=0,1")
        assert kept(random_model(cfg_text(*sections))) == [(1, "layer 2 also reads layer 0")]

    @pytest.mark.parametrize(("read", "loaded"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
    def test_of_the_layers_that_came_from_a_file_it_is_none(self, read: int, loaded: int) -> None:
        cfg = cfg_text(CONV, "[batchnorm]", CONV, "[batchnorm]", CONV)
        floats = (4 + 4 * 27, 4 * 4, 4 + 4 * 36, 4 * 4, 4 + 4 * 36)
        data = weights_bytes(cfg)[: 20 + 4 * sum(floats[:read])]
        model = dn.load(cfg, data, dialect="alexeyab", partial=True)
        assert model.loaded == read
        assert dn.fold_batchnorm(model).loaded == loaded

    def test_a_shared_layer_keeps_it(self) -> None:
        same = f"[convolutional] filters=3 size=3 pad=1 {LINEAR}"
        sections = (same, "[batchnorm]", f"{same} share_index=0", "[batchnorm]")
        assert self.gone(*sections) == ()
        assert kept(random_model(cfg_text(*sections))) == [
            (1, "layer 0 shares its weights"),
            (3, "layer 2 shares its weights"),
        ]

    def test_comments_around_it_stay(self) -> None:
        cfg = cfg_text(CONV, "[batchnorm]", CONV).replace(
            b"[batchnorm]\n", b"# before\n[batchnorm]\n# inside\nclip=1\n# behind\n"
        )
        folded = dn.fold_batchnorm(random_model(cfg)).cfg.to_bytes()
        assert folded == cfg.replace(b"[batchnorm]\n# inside\nclip=1\n", b"")


class TestReferences:
    def renumbered(self, *sections: str, dialect: str = "alexeyab") -> list[str]:
        """Fold, check every layer, and return the lines with references."""
        model = random_model(cfg_text(*sections), dialect)
        folded = dn.fold_batchnorm(model)
        agree(model, folded)
        lines = folded.cfg.to_bytes().decode().splitlines()
        return [line for line in lines if line.startswith(("layers=", "from=", "share_index="))]

    def test_absolute_ones_behind_a_section_that_goes(self) -> None:
        assert self.renumbered(CONV, "[batchnorm]", CONV, CONV, "[route] layers=1,2,3") == [
            "layers=0,1,2"
        ]

    def test_relative_ones_across_it(self) -> None:
        assert self.renumbered(
            CONV, "[batchnorm]", CONV, CONV, "[route] layers=-1,-2,-3", "[shortcut] from=-4"
        ) == ["layers=-1,-2,-3", "from=-4"]
        assert self.renumbered(CONV, CONV, "[batchnorm]", CONV, "[route] layers=-1,-4,-2") == [
            "layers=-1,-3,-2"
        ]

    def test_ones_that_do_not_cross_it_keep_their_spelling(self) -> None:
        cfg = cfg_text(CONV, "[batchnorm]", CONV, CONV, "[route] layers=X", "[route] layers=0")
        cfg = cfg.replace(b"layers=X", b"layers = -1 , -2  # both")
        model = random_model(cfg.replace(b"layers=0", b"layers=3"))
        folded = dn.fold_batchnorm(model)
        agree(model, folded)
        assert b"layers = -1 , -2  # both\n" in folded.cfg.to_bytes()
        assert b"layers=2\n" in folded.cfg.to_bytes()

    def test_shared_weights(self) -> None:
        same = f"[convolutional] filters=4 size=3 pad=1 {LINEAR}"
        assert self.renumbered(
            CONV, CONV, "[batchnorm]", f"{same} {BN}", f"{same} {BN} share_index=3", same,
            f"{same} share_index=-1", f"{same} {BN} share_index=-4",
        ) == ["share_index=2", "share_index=-1", "share_index=-4"]  # fmt: skip

    def test_shortcuts_of_several_and_scale_channels(self) -> None:
        assert self.renumbered(
            CONV, CONV, "[batchnorm]", CONV, "[shortcut] from=0,2,-4 activation=leaky",
            "[avgpool]", "[scale_channels] from=4", "[sam] from=0",
        ) == ["from=0,1,-3", "from=3", "from=0"]  # fmt: skip

    @pytest.mark.parametrize("seed", range(40))
    def test_random_nets(self, seed: int) -> None:
        rng = random.Random(seed)
        sections: list[str] = []
        for index in range(rng.randrange(6, 16)):
            images = range(index)
            choice = rng.random()
            if index == 0 or choice < 0.3:
                activation = rng.choice(("linear", "linear", "leaky", "logistic"))
                norm = rng.choice(("", BN))
                sections.append(
                    f"[convolutional] filters=3 size=3 pad=1 activation={activation} {norm}"
                )
            elif choice < 0.65:
                sections.append("[batchnorm]")
            elif choice < 0.8:
                sources = [rng.choice((each, each - index)) for each in rng.choices(images, k=2)]
                sections.append(f"[route] layers={','.join(map(str, sources))}")
                sections.append("[convolutional] filters=3 size=1 activation=linear")
                continue
            else:
                # Behind a route the numbers have moved on: choose among all that are there.
                count = len(sections)
                source = rng.randrange(count)
                sections.append(f"[shortcut] from={rng.choice((source, source - count))}")
        sections = self.of_three_channels(sections)
        self.renumbered(*sections)

    def of_three_channels(self, sections: list[str]) -> list[str]:
        """Let shortcuts read layers with three channels, and routes the layers before them."""
        network = None
        for end in range(1, len(sections) + 1):
            try:
                network = network_of(cfg_text(*sections[:end]))
            except dn.DarknetError:
                sections[end - 1] = "[route] layers=-1"
        assert network is not None
        return sections
