/** Largest inputs, in bytes as they come: encoded pictures and sounds, UTF-8 texts, tensors. */

/** Largest picture file that anybody takes in. */
export const MAX_IMAGE_BYTES = 64 * 1024 * 1024;
/** Largest text that anybody takes in; models cut at their own length, this only stops abuse. */
export const MAX_TEXT_BYTES = 1024 * 1024;
/** Largest sound file that anybody takes in: half an hour of 16 kHz PCM. */
export const MAX_AUDIO_BYTES = 64 * 1024 * 1024;
/** Largest tensors that anybody takes in, all of a request together. */
export const MAX_TENSOR_BYTES = 64 * 1024 * 1024;
