"""FairGen's adapters as other tools load them: a LoRA, on both branches of the guidance."""

from fairgen.baselines.gated import Gated


class AsLora(Gated):
    """What `pipe.load_lora_weights`, ComfyUI and A1111 paint with the same files.

    The unconditional branch moves too, and guidance cancels part of what it shares with the other;
    that preservation keeps adapters from moving the empty prompt is what makes the two agree.
    """

    title = "FairGen as LoRA"
    both_branches = True
