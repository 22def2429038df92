"""SMARTS of the functional groups of SE3Set (arXiv:2405.16511), which fragments never cut."""

from __future__ import annotations

from collections.abc import Mapping

#: Groups of the default perception. They do not depend on the Lewis structure of the oxygens of a
#: phosphate, or on rings of any size at the nitrogen of a sulfonamide, which are not a local
#: property of the bond graph.
FUNCTIONAL_GROUPS: Mapping[str, tuple[str, ...]] = {
    "hydrazine": ("[NX3][NX3]",),
    "hydrazone": ("[NX3][NX2]",),
    "N-O": ("[N]-[O]",),
    "amide": ("[#7][#6](=[#8])",),
    "deprotonated amide": ("[#7][#6](-[O-])",),
    "urea": ("[NX3][CX3](=[OX1])[NX3]",),
    "aldehyde": ("[CX3H1](=[O])[#6]",),
    "sulfoxide": ("[#16X3]=[OX1]", "[#16X3+][OX1-]"),
    "sulfonyl": ("[#16X4](=[OX1])=[OX1]",),
    "sulfinic acid": ("[#16X3](=[OX1])[OX2H,OX1H0-]",),
    "sulfonamide": ("[#16X4](=[OX1])(=[OX1])([NX3])",),
    "sulfonic acid": ("[#16X4](=[OX1])(=[OX1])[OX2H,OX1H0-]",),
    "phosphine oxide": ("[PX4](=[OX1])([#6])([#6])([#6])",),
    "phosphonate": ("[P](=[OX1])(~[OX2H,OX1])(~[OX2H,OX1])",),
    "phosphate": ("[PX4](=[OX1])(~[#8])(~[#8])(~[#8])",),
    "carboxyl": ("[CX3](=[O])[OX1H0-,OX2H1]",),
    "nitro": ("[NX3+](=[O])[O-]", "[NX3](=[O])=[O]"),
    "ester": ("[CX3](=[O])[OX2H0]",),
    "trihalide": ("[#6]([F,Cl,I,Br])([F,Cl,I,Br])([F,Cl,I,Br])",),
    "hydroxyl": ("[#8]-[#1]",),
    "water": ("[#1]-[#8]-[#1]",),
}

#: Groups of the published recipe.
PUBLISHED_GROUPS: Mapping[str, tuple[str, ...]] = {
    **FUNCTIONAL_GROUPS,
    "sulfonamide": ("[#16X4](=[OX1])(=[OX1])([NX3R0])",),
    "phosphonate": ("[P](=[OX1])([OX2H,OX1-])([OX2H,OX1-])",),
    "phosphate": ("[PX4](=[OX1])([#8])([#8])([#8])",),
}
