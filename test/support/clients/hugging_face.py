"""Every method of huggingface_hub's InferenceClient for which the hub has a task, and LangChain's endpoint, against a real hub.

Arguments: address and key of a hub that answers from a list, the same of one whose models run, a picture, a sound. Each method is
asked with each of its parameters as None, at the value at which it changes nothing, and at one at which it does: that is done, or
refused by its name.
"""

import inspect
import sys

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from langchain_huggingface import HuggingFaceEndpoint

canned_url, canned_key, url, key, picture, sound = sys.argv[1:]
RUNNING = {"bart", "gpt2", "marian", "vit-gpt2", "whisper"}


def at(model):
    base, token = (url, key) if model in RUNNING else (canned_url, canned_key)
    return InferenceClient(model=f"{base}/hf/models/{model}", token=token, timeout=60)


# Parameter: (value that changes nothing, value that changes the answer, whether that is done).
RANKED = {"function_to_apply": ("softmax", "sigmoid", True), "top_k": (5, 1, True)}
WRITING = {
    "clean_up_tokenization_spaces": (False, True, True),
    "generate_parameters": ({"num_beams": 1, "penalty_alpha": 0}, {"penalty_alpha": 1}, False),
    "truncation": ("do_not_truncate", "only_first", True),
}
ENTITIES = {
    "aggregation_strategy": ("simple", "max", True),
    "ignore_labels": (["O"], ["PER"], True),
    "stride": (0, 4, True),
}
SPANS = {
    "align_to_words": (True, False, True),
    "doc_stride": (128, 64, True),
    "handle_impossible_answer": (False, True, True),
    "max_answer_len": (15, 5, True),
    "max_question_len": (64, 9, True),
    "max_seq_len": (384, 99, True),
    "top_k": (1, 3, True),
}
ZERO_SHOT = {
    "multi_label": (False, True, True),
    "hypothesis_template": ("This example is {}.", "It is {}.", True),
}
FEATURES = {
    "normalize": (True, False, True),
    "prompt_name": ("query", "passage", True),
    "truncate": (True, False, True),
    "truncation_direction": ("right", "left", True),
    "dimensions": (None, 8, False),
    "encoding_format": ("float", "base64", False),
}
GENERATION = {
    "adapter_id": (None, "mine", False),
    "best_of": (1, 2, False),
    # Without `details` the client does not send it.
    "decoder_input_details": (False, None, True),
    "details": (False, True, True),
    "do_sample": (False, True, True),
    "frequency_penalty": (0, 0.5, True),
    "grammar": (None, {"type": "regex", "value": "a"}, False),
    "max_new_tokens": (100, 3, True),
    "repetition_penalty": (1.0, 1.2, True),
    "return_full_text": (False, True, True),
    "seed": (None, 7, True),
    "stop": ([], ["e"], True),
    "stop_sequences": ([], ["e"], True),
    "stream": (False, None, True),
    "temperature": (1.0, 0.8, True),
    "top_k": (0, 5, True),
    "top_n_tokens": (0, 2, True),
    "top_p": (1.0, 0.95, True),
    "truncate": (None, 5, True),
    "typical_p": (1.0, 0.95, True),
    "watermark": (False, True, False),
}
MASKED = {"targets": (["film"], ["day"], True), "top_k": (5, 2, True)}
LANGUAGES = {"src_lang": (None, None, True), "tgt_lang": (None, None, True)}
METHODS = [
    ("image_classification", "image-classification", {"image": picture}, RANKED),
    ("object_detection", "object-detection", {"image": picture}, {"threshold": (0.5, 0.9, True)}),
    ("text_classification", "text-classification", {"text": "a"}, RANKED),
    ("token_classification", "token-classification", {"text": "Ada"}, ENTITIES),
    ("question_answering", "question-answering", {"question": "Who?", "context": "Ada"}, SPANS),
    (
        "zero_shot_classification",
        "zero-shot-classification",
        {"text": "a", "candidate_labels": ["good", "bad"]},
        ZERO_SHOT,
    ),
    ("fill_mask", "fill-mask", {"text": "a [MASK]"}, MASKED),
    ("feature_extraction", "feature-extraction", {"text": "a"}, FEATURES),
    ("sentence_similarity", "feature-extraction", {"sentence": "a", "other_sentences": ["b"]}, {}),
    ("image_to_text", "vit-gpt2", {"image": picture}, {}),
    ("automatic_speech_recognition", "whisper", {"audio": sound}, {"extra_body": (None, {"made_up": 1}, False)}),
    ("summarization", "bart", {"text": "a long text about a film"}, WRITING),
    ("translation", "marian", {"text": "a"}, {**WRITING, **LANGUAGES}),
    ("text_generation", "gpt2", {"prompt": "a"}, GENERATION),
]
for method, model, needed, parameters in METHODS:
    ask = getattr(at(model), method)
    known = set(inspect.signature(ask).parameters) - {"model"} - set(needed)
    assert known == set(parameters), f"{method}: the table lacks or adds {known ^ set(parameters)}"
    assert ask(**needed) is not None, method
    for name, (neutral, changes, is_done) in parameters.items():
        for value in [None, neutral]:
            assert ask(**needed, **{name: value}) is not None, (method, name, value)
        inner = list(changes)[0] if isinstance(changes, dict) else name
        try:
            ask(**needed, **{name: changes})
        except HfHubHTTPError as error:
            assert not is_done and (name in str(error) or inner in str(error)), (method, name, str(error))
        else:
            assert is_done, f"{method}: {name} {changes} should be refused"

assert at("feature-extraction").sentence_similarity("a", ["a", "b"]) == [1.0, 1.0]
assert at("feature-extraction").feature_extraction("a").shape == (1, 3)
assert isinstance(at("vit-gpt2").image_to_text(picture).generated_text, str)
generate = at("gpt2").text_generation
whole = generate("a", max_new_tokens=5)
assert "".join(generate("a", max_new_tokens=5, stream=True)) == whole
assert generate("a", max_new_tokens=5, details=True).details.generated_tokens == 5

# LangChain sends its own key to Hugging Face's addresses only.
headers = {"headers": {"Authorization": "Bearer " + key}}
endpoint = {"endpoint_url": f"{url}/hf/models/gpt2", "server_kwargs": headers}
assert isinstance(HuggingFaceEndpoint(**endpoint).invoke("a"), str), "with all its defaults"
assert HuggingFaceEndpoint(**endpoint, max_new_tokens=5).invoke("a") == whole
sampling = HuggingFaceEndpoint(**endpoint, max_new_tokens=5, do_sample=True, seed=7, typical_p=0.9)
assert sampling.invoke("a") == sampling.invoke("a")
assert "".join(HuggingFaceEndpoint(**endpoint, max_new_tokens=5, streaming=True).stream("a")) == whole
print("all well")
