"""What the denoiser reads of a prompt, encoded once and kept while there is room."""

from collections import OrderedDict
from collections.abc import Sequence

from tensordict import TensorDict

from fairgen.backbones.backbone import Backbone

_DEFAULT_BYTES = 512 << 20


class PromptCache:
    """Encodes prompts; past `max_bytes` of embeddings the least recently used one goes.

    Each prompt is encoded on its own: encoded beside others it would differ in the last bits, and a
    resumed run, which batches prompts otherwise, would not end in the same weights. One thread may
    use it.
    """

    def __init__(self, backbone: Backbone, max_bytes: int = _DEFAULT_BYTES) -> None:
        self._backbone, self._max_bytes = backbone, max_bytes
        self._embedded: OrderedDict[tuple[str | None, bool], TensorDict] = OrderedDict()
        self.num_bytes = 0

    def embed(self, prompt: str | None, negative: bool = False) -> TensorDict:
        """Return one prompt's embedding, without a batch dimension; None is no prompt."""
        key = prompt, negative
        if key in self._embedded:
            self._embedded.move_to_end(key)
            return self._embedded[key]
        encode = self._backbone.encode_negative if negative else self._backbone.encode
        embedding = encode([prompt])[0]
        self._embedded[key] = embedding
        self.num_bytes += embedding.bytes()
        while self.num_bytes > self._max_bytes and len(self._embedded) > 1:
            _, oldest = self._embedded.popitem(last=False)
            self.num_bytes -= oldest.bytes()
        return embedding

    def stack(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return the embeddings of N prompts, tensors whose first dimension is N."""
        return self._backbone.stack([self.embed(prompt) for prompt in prompts])
