/**
 * The packages that hold ONNX Runtime's CUDA libraries of the version that we run, and what those need: each one file of the Python
 * package index, by its digest. A test holds the version to the one in package.json; `docs/gpu.md` says how the table is renewed.
 */

/** A wheel (a zip) of the Python package index, and what is taken out of it. */
export interface Wheel {
  readonly name: string;
  readonly version: string;
  /** Its file, as every index calls it. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly license: string;
  /** Members that are libraries; they lie in one folder then, by their last names. */
  readonly libraries: RegExp;
  /** Member with the licence's text. */
  readonly licenseFile: RegExp;
  /** The library by which the machine shows that it has all of this already; undefined: it has none of ours. */
  readonly soname?: string;
}

const NVIDIA = {
  license: 'NVIDIA proprietary (free of charge, see its text)',
  licenseFile: /\.dist-info\/licenses\/License\.txt$/,
} as const;

/** Version of ONNX Runtime that the table is of. */
export const WHEELS_FOR = '1.30.0';

/** Everything that `cuda` needs beside the driver; linux-x64. */
export const WHEELS: readonly Wheel[] = [
  {
    name: 'onnxruntime-gpu',
    version: '1.30.0',
    file: 'onnxruntime_gpu-1.30.0-cp312-cp312-manylinux_2_28_x86_64.whl',
    bytes: 246_685_715,
    sha256: '6acc0f4b3d5ac5f2984432faa59dd8fcce6775f8b43a7140afa0f322c7a703b1',
    license: 'MIT',
    libraries: /^onnxruntime\/capi\/libonnxruntime_providers_(cuda|shared)\.so$/,
    licenseFile: /^onnxruntime\/LICENSE$/,
  },
  {
    ...NVIDIA,
    name: 'nvidia-cuda-runtime',
    version: '13.0.96',
    file: 'nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 2_243_632,
    sha256: '7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548',
    libraries: /\/libcudart\.so\.13$/,
    soname: 'libcudart.so.13',
  },
  {
    ...NVIDIA,
    name: 'nvidia-cublas',
    version: '13.1.0.3',
    file: 'nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 423_133_236,
    sha256: 'ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171',
    libraries: /\/libcublas(Lt)?\.so\.13$/,
    soname: 'libcublasLt.so.13',
  },
  {
    ...NVIDIA,
    name: 'nvidia-curand',
    version: '10.4.0.35',
    file: 'nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 59_544_258,
    sha256: '1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc',
    libraries: /\/libcurand\.so\.10$/,
    soname: 'libcurand.so.10',
  },
  {
    ...NVIDIA,
    name: 'nvidia-cuda-nvrtc',
    version: '13.0.88',
    file: 'nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl',
    bytes: 90_215_200,
    sha256: 'ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575',
    libraries: /\/libnvrtc(-builtins)?\.so\.13(\.0)?$/,
    soname: 'libnvrtc.so.13',
  },
  {
    ...NVIDIA,
    name: 'nvidia-cudnn-cu13',
    version: '9.20.0.48',
    file: 'nvidia_cudnn_cu13-9.20.0.48-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 366_173_588,
    sha256: '0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304',
    libraries: /\/libcudnn\w*\.so\.9$/,
    soname: 'libcudnn.so.9',
  },
];
