// y = relu6(depthwise(relu6(x + before)) + bias) and its gradients; bf16 in memory, f32 in the sums, channels last.
#include <ATen/Parallel.h>
#include <torch/extension.h>

namespace {

constexpr int64_t kLanes = 16;  // Channels that a register holds: a plane below is this many channels of one picture.
typedef float Floats __attribute__((vector_size(64)));
typedef float StoredFloats __attribute__((vector_size(64), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t StoredHalves __attribute__((vector_size(32), aligned(2)));

Floats load(const float* from) { return *(const StoredFloats*)from; }
void store(float* to, Floats values) { *(StoredFloats*)to = values; }
void add(float* to, Floats values) { store(to, load(to) + values); }

Floats load(const uint16_t* from) { return (Floats)(__builtin_convertvector(*(const StoredHalves*)from, Words) << 16); }
void store(uint16_t* to, Floats values) {
  Words bits = (Words)values;
  bits += 0x7fff + ((bits >> 16) & 1);  // to the nearest, ties to even
  *(StoredHalves*)to = __builtin_convertvector(bits >> 16, StoredHalves);
}

Floats relu6(Floats x) {
  const Floats six = Floats{} + 6.f;
  x = x > 0.f ? x : Floats{};
  return x < six ? x : six;
}
Floats where_relu6_rises(Floats x, Floats gradient) { return (x > 0.f) & (x < 6.f) ? gradient : Floats{}; }

// A plane of floats in whole cache lines, so that no load crosses one.
struct Plane {
  explicit Plane(int64_t positions) : floats((float*)std::aligned_alloc(64, positions * kLanes * sizeof(float))) {}
  Plane(const Plane&) = delete;
  ~Plane() { std::free(floats); }
  void clear(int64_t positions) { std::memset(floats, 0, positions * kLanes * sizeof(float)); }
  float* floats;
};

struct Shape {
  int64_t pictures, height, width, channels, out_height, out_width, kernel, stride, top, left;
  int64_t padded_height() const { return std::max(height + top, (out_height - 1) * stride + kernel); }
  int64_t padded_width() const { return std::max(width + left, (out_width - 1) * stride + kernel); }
  int64_t padded() const { return padded_height() * padded_width(); }
  int64_t planes() const { return pictures * (channels / kLanes); }
  int64_t channel(int64_t plane) const { return plane % (channels / kLanes) * kLanes; }
  int64_t in(int64_t plane) const { return plane / (channels / kLanes) * height * width * channels + channel(plane); }
  int64_t out(int64_t plane) const {
    return plane / (channels / kLanes) * out_height * out_width * channels + channel(plane);
  }
};

void pad(const Shape& s, const uint16_t* x, Floats before, Plane& padded) {
  padded.clear(s.padded());
  for (int64_t row = 0; row < s.height; row++)
    for (int64_t column = 0; column < s.width; column++)
      store(padded.floats + ((row + s.top) * s.padded_width() + column + s.left) * kLanes,
            relu6(load(x + (row * s.width + column) * s.channels) + before));
}

template <int K>
void forward_plane(const Shape& s, const Plane& padded, const float* weight, Floats bias, uint16_t* y) {
  const int64_t width = s.padded_width();
  Floats weights[K * K];
  for (int tap = 0; tap < K * K; tap++) weights[tap] = load(weight + tap * s.channels);
  for (int64_t row = 0; row < s.out_height; row++)
    for (int64_t column = 0; column < s.out_width; column++) {
      const float* at = padded.floats + (row * width + column) * s.stride * kLanes;
      Floats sum = bias;
#pragma GCC unroll 5
      for (int i = 0; i < K; i++)
#pragma GCC unroll 5
        for (int j = 0; j < K; j++) sum += weights[i * K + j] * load(at + (i * width + j) * kLanes);
      store(y + (row * s.out_width + column) * s.channels, relu6(sum));
    }
}

struct Gradients {
  float *before, *weight, *bias;  // Added to.
  uint16_t* x;
};

template <int K>
void backward_plane(const Shape& s, const uint16_t* x, const Plane& padded, Floats before, const float* weight,
                    const uint16_t* y, const uint16_t* gradient, Plane& masked, Plane& scattered, Gradients out) {
  // At stride 1 the gradients lie in a frame of zeros, so that x's gradient is a convolution, too.
  const bool gather = s.stride == 1;
  const int64_t width = s.padded_width(), masked_width = s.out_width + (gather ? K - 1 : 0);
  float* first = masked.floats + (gather ? ((K - 1 - s.top) * masked_width + K - 1 - s.left) * kLanes : 0);
  if (gather) masked.clear((s.out_height + K - 1) * masked_width);

  Floats sum_bias{};
  for (int64_t row = 0; row < s.out_height; row++)
    for (int64_t column = 0; column < s.out_width; column++) {
      const int64_t at = (row * s.out_width + column) * s.channels;
      const Floats g = where_relu6_rises(load(y + at), load(gradient + at));
      store(first + (row * masked_width + column) * kLanes, g);
      sum_bias += g;
    }
  add(out.bias, sum_bias);

  Floats sums[K * K] = {};
  for (int64_t row = 0; row < s.out_height; row++)
    for (int64_t column = 0; column < s.out_width; column++) {
      const float* at = padded.floats + (row * width + column) * s.stride * kLanes;
      const Floats g = load(first + (row * masked_width + column) * kLanes);
#pragma GCC unroll 5
      for (int i = 0; i < K; i++)
#pragma GCC unroll 5
        for (int j = 0; j < K; j++) sums[i * K + j] += g * load(at + (i * width + j) * kLanes);
    }
  for (int tap = 0; tap < K * K; tap++) add(out.weight + tap * s.channels, sums[tap]);

  Floats weights[K * K];
  for (int tap = 0; tap < K * K; tap++) weights[tap] = load(weight + tap * s.channels);
  if (!gather) {
    scattered.clear(s.padded());
    for (int64_t row = 0; row < s.out_height; row++)
      for (int64_t column = 0; column < s.out_width; column++) {
        float* at = scattered.floats + (row * width + column) * s.stride * kLanes;
        const Floats g = load(first + (row * masked_width + column) * kLanes);
#pragma GCC unroll 5
        for (int i = 0; i < K; i++)
#pragma GCC unroll 5
          for (int j = 0; j < K; j++) add(at + (i * width + j) * kLanes, g * weights[i * K + j]);
      }
  }

  Floats sum_before{};
  for (int64_t row = 0; row < s.height; row++)
    for (int64_t column = 0; column < s.width; column++) {
      Floats g{};
      if (gather) {
        const float* at = masked.floats + (row * masked_width + column) * kLanes;
#pragma GCC unroll 5
        for (int i = 0; i < K; i++)
#pragma GCC unroll 5
          for (int j = 0; j < K; j++) g += weights[K * K - 1 - i * K - j] * load(at + (i * masked_width + j) * kLanes);
      } else {
        g = load(scattered.floats + ((row + s.top) * width + column + s.left) * kLanes);
      }
      const int64_t at = (row * s.width + column) * s.channels;
      g = where_relu6_rises(load(x + at) + before, g);
      sum_before += g;
      store(out.x + at, g);
    }
  add(out.before, sum_before);
}

Shape shape_of(const at::Tensor& x, int64_t kernel, int64_t stride, int64_t top, int64_t left, int64_t out_height,
               int64_t out_width) {
  TORCH_CHECK(x.scalar_type() == at::kBFloat16 && x.is_contiguous(at::MemoryFormat::ChannelsLast), "bf16, channels last");
  TORCH_CHECK(x.size(1) % kLanes == 0, "channels in steps of ", kLanes);
  TORCH_CHECK(kernel == 3 || kernel == 5, "kernels of 3 or 5");
  return {x.size(0), x.size(2), x.size(3), x.size(1), out_height, out_width, kernel, stride, top, left};
}

const uint16_t* halves(const at::Tensor& tensor) { return (const uint16_t*)tensor.data_ptr(); }

}  // namespace

// x bf16[N,C,H,W], before and bias f32[C], weight f32[K*K,C] -> y bf16[N,C,out_height,out_width]
at::Tensor forward(at::Tensor x, at::Tensor before, at::Tensor weight, at::Tensor bias, int64_t kernel, int64_t stride,
                   int64_t top, int64_t left, int64_t out_height, int64_t out_width) {
  const Shape s = shape_of(x, kernel, stride, top, left, out_height, out_width);
  auto y = at::empty({s.pictures, s.channels, out_height, out_width}, x.options(), at::MemoryFormat::ChannelsLast);
  auto* to = (uint16_t*)y.data_ptr();
  at::parallel_for(0, s.planes(), 1, [&](int64_t from, int64_t until) {
    Plane padded(s.padded());
    for (int64_t plane = from; plane < until; plane++) {
      const int64_t channel = s.channel(plane);
      pad(s, halves(x) + s.in(plane), load(before.data_ptr<float>() + channel), padded);
      auto run = kernel == 3 ? forward_plane<3> : forward_plane<5>;
      run(s, padded, weight.data_ptr<float>() + channel, load(bias.data_ptr<float>() + channel), to + s.out(plane));
    }
  });
  return y;
}

// Returns the gradients of x, before, weight and bias.
std::vector<at::Tensor> backward(at::Tensor gradient, at::Tensor x, at::Tensor y, at::Tensor before, at::Tensor weight,
                                 int64_t kernel, int64_t stride, int64_t top, int64_t left) {
  const Shape s = shape_of(x, kernel, stride, top, left, y.size(2), y.size(3));
  gradient = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  TORCH_CHECK(gradient.scalar_type() == at::kBFloat16 && y.is_contiguous(at::MemoryFormat::ChannelsLast), "bf16, channels last");
  const int64_t threads = at::get_num_threads(), taps = kernel * kernel;
  auto of_x = at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast);
  auto of_before = at::zeros({threads, s.channels}, weight.options());
  auto of_weight = at::zeros({threads, taps, s.channels}, weight.options());
  auto of_bias = at::zeros({threads, s.channels}, weight.options());
  at::parallel_for(0, s.planes(), 1, [&](int64_t from, int64_t until) {
    Plane padded(s.padded()), masked((s.out_height + kernel - 1) * (s.out_width + kernel - 1)), scattered(s.padded());
    const int64_t thread = at::get_thread_num();
    for (int64_t plane = from; plane < until; plane++) {
      const int64_t channel = s.channel(plane), in = s.in(plane), out = s.out(plane);
      const Floats before_it = load(before.data_ptr<float>() + channel);
      const Gradients gradients{of_before.data_ptr<float>() + thread * s.channels + channel,
                                of_weight.data_ptr<float>() + thread * taps * s.channels + channel,
                                of_bias.data_ptr<float>() + thread * s.channels + channel, (uint16_t*)of_x.data_ptr() + in};
      pad(s, halves(x) + in, before_it, padded);
      auto run = kernel == 3 ? backward_plane<3> : backward_plane<5>;
      run(s, halves(x) + in, padded, before_it, weight.data_ptr<float>() + channel, halves(y) + out,
          halves(gradient) + out, masked, scattered, gradients);
    }
  });
  return {of_x, of_before.sum(0), of_weight.sum(0), of_bias.sum(0)};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("forward", &forward);
  module.def("backward", &backward);
}
