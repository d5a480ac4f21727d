"""Builds models/efficientnet-lite2: EfficientNet-Lite2 with its ImageNet weights, int8 weights and float compute."""

from outrider_recipes import imagenet
from outrider_recipes.efficientnet_lite import export_float, measure, write_folder
from outrider_recipes.onnx_files import LARGEST_8_BIT, OnnxModel, round_weights, store_int8_weights
from outrider_recipes.run import parse_arguments, save_figures

NAME = "efficientnet-lite2"
# A margin of 16 px on each side is cut away, as at Lite0: 260 of 292.
PREPROCESSING = imagenet.Preprocessing(edge_px=292, crop_px=260)


def main() -> None:
    arguments = parse_arguments(__doc__)
    folder = arguments.models / NAME
    float_file, int8_file = arguments.out / NAME / "model.onnx", folder / "onnx" / "model_quantized.onnx"
    export_float(2, float_file, PREPROCESSING.crop_px)
    rounded_file = float_file.with_suffix(".rounded.onnx")
    calibration, _ = imagenet.load(arguments.data)
    round_weights(float_file, rounded_file, PREPROCESSING.rows(calibration), LARGEST_8_BIT)
    store_int8_weights(rounded_file, int8_file)
    save_figures(arguments.out, NAME, measure(float_file, int8_file, True, arguments.data, PREPROCESSING))
    spec = {"precision": "int8-weights", "foldDequantize": True}
    write_folder(folder, spec, 2, arguments.data, OnnxModel(int8_file, fold=True), PREPROCESSING)


if __name__ == "__main__":
    main()
