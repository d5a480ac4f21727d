"""Builds models/efficientnet-lite0: EfficientNet-Lite0 with its ImageNet weights, static int8. Nothing is trained."""

from outrider_recipes import imagenet
from outrider_recipes.efficientnet_lite import export_float, measure, write_folder
from outrider_recipes.onnx_files import OnnxModel, quantize_static_u8s8
from outrider_recipes.run import parse_arguments, save_figures

NAME = "efficientnet-lite0"
# 224 px are 87.5 % of the shortest side, as Lite0 was trained.
PREPROCESSING = imagenet.Preprocessing(edge_px=256, crop_px=224)


def main() -> None:
    arguments = parse_arguments(__doc__)
    folder = arguments.models / NAME
    float_file, int8_file = arguments.out / NAME / "model.onnx", folder / "onnx" / "model_quantized.onnx"
    export_float(0, float_file, PREPROCESSING.crop_px)
    calibration, _ = imagenet.load(arguments.data)
    quantize_static_u8s8(float_file, int8_file, PREPROCESSING.rows(calibration))
    save_figures(arguments.out, NAME, measure(float_file, int8_file, False, arguments.data, PREPROCESSING))
    write_folder(folder, {"precision": "int8-static"}, 0, arguments.data, OnnxModel(int8_file), PREPROCESSING)


if __name__ == "__main__":
    main()
