"""Every modification, when it can be made, and whether the blocks' two-stream form is still known afterwards."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modifying import around, attributes, hooks, insides
from modifying.site import Site

BEFORE, AFTER, DURING, BETWEEN = "before rewire", "after rewire", "between forward and backward", "between steps"
ALWAYS = (BEFORE, AFTER, DURING, BETWEEN)
NOT_DURING = (BEFORE, AFTER, BETWEEN)
REWIRED = (AFTER, DURING, BETWEEN)

Change = Callable[[Site], bool | None]


@dataclass(frozen=True)
class Modification:
    """Something that people do to a network."""

    apply: Change
    """Returns False where there is nothing to do it to."""
    moments: Sequence[str] = ALWAYS
    changes_blocks: bool = False
    """What a block computes beside its branches, or how it is called: its two-stream form is not known here."""
    prepare: Change | None = None
    """Done before the network is rewired."""


@dataclass(frozen=True)
class Planned:
    """A modification of a case."""

    name: str
    moment: str
    step: int
    """The step it is made in; between steps, before it."""
    seed: int

    def apply(self, site: Site) -> None:
        """Make it."""
        self._make(MODIFICATIONS[self.name].apply, site)

    def prepare(self, site: Site) -> None:
        """Do what it needs to have been done before."""
        if (prepare := MODIFICATIONS[self.name].prepare) is not None:
            self._make(prepare, site)

    def _make(self, change: Change, site: Site) -> None:
        if site.blocks():  # others may have taken them all away
            site.random = random.Random(self.seed)
            change(site)

    def __str__(self) -> str:
        place = f" of step {self.step}" if self.moment == DURING else f", step {self.step}"
        return f"{self.name} ({self.moment}{place if self.moment in (DURING, BETWEEN) else ''})"


def _plain(*changes: Change, moments: Sequence[str] = ALWAYS, changes_blocks: bool = False) -> dict[str, Modification]:
    return {
        change.__name__.replace("_", " "): Modification(change, moments, changes_blocks=changes_blocks)
        for change in changes
    }


def _named(
    names: dict[str, Change], moments: Sequence[str], *, changes_blocks: bool = False
) -> dict[str, Modification]:
    return {name: Modification(change, moments, changes_blocks=changes_blocks) for name, change in names.items()}


MODIFICATIONS: dict[str, Modification] = {
    **_plain(
        attributes.whole_network_switched,
        attributes.one_module_switched,
        attributes.norms_switched,
        attributes.dropout_probability,
        attributes.drop_path_rate,
        attributes.number,
        attributes.probability_of_a_function,
        attributes.flag,
        attributes.listed_number,
        attributes.number_of_a_config,
        attributes.flag_of_a_config,
        attributes.bare_tensor,
        attributes.bare_tensor_in_place,
        attributes.epsilon_of_a_norm,
        attributes.momentum_of_a_norm,
        attributes.parameter_in_place,
        attributes.buffer_in_place,
        attributes.buffer_replaced,
        attributes.some_parameters_toggled,
        attributes.one_block_frozen,
        attributes.all_frozen,
        attributes.all_trained,
        insides.forward_of_an_instance,
        insides.class_swapped,
        insides.child_replaced,
        insides.activation_replaced,
        insides.norm_removed,
        insides.branch_shared,
    ),
    **_plain(
        attributes.parameter_s_data,
        attributes.parameter_replaced,
        attributes.state_dict_loaded,
        insides.counting,
        insides.counting_number,
        insides.centred,
        insides.replacing_its_buffer,
        insides.codebook,
        insides.adapted,
        insides.listed_module,
        insides.held_tensor,
        insides.tensor_in_a_closure,
        insides.attribute_in_the_loss,
        insides.parameter_in_the_loss,
        insides.spectral_norm_of_old,
        insides.spectral_norm_as_parametrization,
        insides.weight_norm_of_old,
        insides.weight_norm_as_parametrization,
        moments=NOT_DURING,
    ),
    "adapters switched": Modification(insides.adapters_switched, REWIRED, prepare=insides.adapted),
    "frozen parameter in place": Modification(
        attributes.frozen_parameter_in_place, REWIRED, prepare=attributes.freeze_one
    ),
    **_named(
        {
            "hook in a branch records": hooks.inner_records,
            "hook in a branch changes its output": hooks.inner_changes,
            "hook in a branch changes its output in place": hooks.layer_changes_in_place,
            "hook in a branch changes its input": hooks.inner_pre_changes,
            "hook in a branch detaches": hooks.inner_detaches,
            "hook in a branch removed at once": hooks.inner_removed_at_once,
            "hook in a branch removed later": hooks.inner_removed_later,
            "backward hook in a branch records": hooks.inner_backward_records,
            "backward hook in a branch changes": hooks.inner_backward_changes,
            "backward pre-hook in a branch changes": hooks.inner_backward_pre_changes,
            "hook on a tensor in a branch": hooks.inner_tensor_hook,
        },
        ALWAYS,
    ),
    **_named(
        {
            "activations of a branch in the loss": hooks.inner_collects,
            "gradient of a tensor in a branch retained": hooks.inner_retains,
            "network copied": around.copied,
            "two forwards, backward in order": around.two_forwards_in_order,
            "two forwards, backward reversed": around.two_forwards_reversed,
            "two forwards, losses added": around.two_forwards_summed,
            "backward twice through one graph": around.backward_twice,
            "gradients asked for by autograd.grad": around.gradients_asked_for,
            "gradient of the input alone": around.gradient_of_the_input_alone,
            "input with nan": around.input_with_nan,
            "input with infinity": around.input_with_infinity,
            "input with nan and infinity": around.input_with_both,
            "empty batch": around.empty_batch,
            "other batch size": around.other_batch,
            "other size": around.other_size,
            "large input": around.large_input,
        },
        NOT_DURING,
    ),
    **_named(
        {
            "hook on a block records": hooks.block_records,
            "hook on a block changes its output": hooks.block_changes,
            "hook on a block changes its output in place": hooks.block_changes_in_place,
            "hook on a block changes its input": hooks.block_pre_changes,
            "hook on a block detaches": hooks.block_detaches,
            "hook on a block removed at once": hooks.block_removed_at_once,
            "hook on a block removed later": hooks.block_removed_later,
            "backward hook on a block records": hooks.block_backward_records,
            "backward hook on a block changes": hooks.block_backward_changes,
            "backward pre-hook on a block changes": hooks.block_backward_pre_changes,
            "hook on the tensor of a block": hooks.block_tensor_hook,
        },
        ALWAYS,
        changes_blocks=True,
    ),
    **_named(
        {
            "outputs of blocks in the loss": hooks.block_collects,
            "gradient of a block's output retained": hooks.block_retains,
            "checkpointed": around.checkpointed,
            "checkpointed, reentrant": around.checkpointed_reentrant,
        },
        NOT_DURING,
        changes_blocks=True,
    ),
    **_plain(
        around.block_forward_wrapped,
        around.block_forward_replaced,
        around.block_class_swapped,
        around.block_replaced,
        around.block_replaced_by_identity,
        around.block_replaced_by_a_layer,
        around.blocks_exchanged,
        around.block_twice,
        around.block_appended,
        around.block_removed,
        changes_blocks=True,
    ),
    **_plain(
        around.functional_call,
        around.called_in_inference,
        around.called_without_gradients,
        moments=NOT_DURING,
        changes_blocks=True,
    ),
    **_plain(around.rewired_again, moments=(AFTER, BETWEEN), changes_blocks=True),
    **_plain(around.converted, moments=NOT_DURING),
}
