// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_EXACT_FORWARD_H_
#define ZQFP_TESTS_MODELS_EXACT_FORWARD_H_

// ExactForward: a quantized Llama in f64, written down from FORMAT.md
// without any of the product's kernels or views.

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "tests/models/editable_checkpoint.h"

namespace zqfp::testing {

using Matrix = std::vector<std::vector<double>>;

// One linear layer of a checkpoint as the numbers it stands for.
struct ExactLinear {
  Matrix weight;  // [n][k]
  std::vector<double> bias;
  bool quantized = false;
};

class ExactForward {
 public:
  // A run ends early, without logits, once its margin is below `least`.
  ExactForward(const EditableCheckpoint& checkpoint, double least_margin)
      : checkpoint_(checkpoint),
        least_margin_(least_margin),
        heads_(checkpoint.config["num_attention_heads"]),
        kv_heads_(checkpoint.config["num_key_value_heads"]),
        head_dim_(checkpoint.config["head_dim"]),
        layers_(checkpoint.config["num_hidden_layers"]),
        epsilon_(checkpoint.config["rms_norm_eps"]) {}

  // Logits of every position of one sequence.
  Matrix Run(const std::vector<int32_t>& ids) {
    const Matrix table = Floats("model.embed_tokens.weight");
    Matrix x;
    for (const int32_t id : ids) x.push_back(table[static_cast<size_t>(id)]);
    margin_ = 1;
    for (int i = 0; i < layers_ && margin_ >= least_margin_; ++i) Layer(i, x);
    if (margin_ < least_margin_) return {};
    return Linear("lm_head", Norm("model.norm.weight", x));
  }

  // The smallest distance, relative to the value, of any activation to a
  // boundary between two e4m3 codes. While f32 errors stay below it, every
  // backend must choose the codes chosen here.
  double margin() const { return margin_; }

 private:
  const EditableTensor& At(const std::string& name) const {
    return checkpoint_.tensors.at(name);
  }

  static double FloatAt(const EditableTensor& tensor, size_t i) {
    if (tensor.dtype == "F32") {
      float value;
      memcpy(&value, tensor.bytes.data() + 4 * i, 4);
      return value;
    }
    uint16_t half;  // bf16
    memcpy(&half, tensor.bytes.data() + 2 * i, 2);
    return std::bit_cast<float>(uint32_t{half} << 16);
  }

  Matrix Floats(const std::string& name) const {
    const EditableTensor& tensor = At(name);
    const size_t rows = static_cast<size_t>(tensor.shape[0]);
    const size_t dim =
        tensor.shape.size() == 1 ? 1 : static_cast<size_t>(tensor.shape[1]);
    Matrix result(rows, std::vector<double>(dim));
    for (size_t i = 0; i < rows * dim; ++i) {
      result[i / dim][i % dim] = FloatAt(tensor, i);
    }
    return result;
  }

  std::vector<double> Vector(const std::string& name) const {
    std::vector<double> result;
    for (const auto& row : Floats(name)) result.push_back(row[0]);
    return result;
  }

  // Section 1: sign, 4 exponent bits of bias 7, 3 mantissa bits.
  static double E4m3(uint8_t code) {
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    const double value = exponent == 0
                             ? std::ldexp(mantissa, -9)
                             : std::ldexp(8 + mantissa, exponent - 10);
    return code & 0x80 ? -value : value;
  }

  static double E2m1(int code) {
    constexpr double kValues[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    return code & 8 ? -kValues[code & 7] : kValues[code & 7];
  }

  ExactLinear Load(const std::string& name) const {
    ExactLinear linear;
    if (checkpoint_.tensors.contains(name + ".bias")) {
      linear.bias = Vector(name + ".bias");
    }
    const auto packed = checkpoint_.tensors.find(name + ".weight_packed");
    linear.quantized = true;
    if (packed != checkpoint_.tensors.end()) {
      linear.weight = LoadE2m1(name, packed->second);
    } else if (At(name + ".weight").dtype == "F8_E4M3") {
      const EditableTensor& codes = At(name + ".weight");
      const std::vector<double> scale = Vector(name + ".weight_row_scale");
      const size_t dim = static_cast<size_t>(codes.shape[1]);
      linear.weight.assign(scale.size(), std::vector<double>(dim));
      for (size_t i = 0; i < scale.size() * dim; ++i) {
        linear.weight[i / dim][i % dim] =
            scale[i / dim] * E4m3(static_cast<uint8_t>(codes.bytes[i]));
      }
    } else {
      linear.weight = Floats(name + ".weight");
      linear.quantized = false;
    }
    if (checkpoint_.tensors.contains(name + ".lorc_u")) AddLorc(name, linear);
    // Weight-only models read what is not quantized.
    const auto& own = checkpoint_.config["quantization_config"];
    linear.quantized &=
        own.contains("activations") && !own["activations"].is_null();
    return linear;
  }

  // Section 4 and 8: U [n, r] V [r, k], e4m3 with one scale per row, or bf16.
  Matrix LoadFactor(const std::string& name) const {
    const EditableTensor& tensor = At(name);
    if (tensor.dtype != "F8_E4M3") return Floats(name);
    const std::vector<double> scale = Vector(name + "_scale");
    const size_t dim = static_cast<size_t>(tensor.shape[1]);
    Matrix result(scale.size(), std::vector<double>(dim));
    for (size_t i = 0; i < scale.size() * dim; ++i) {
      result[i / dim][i % dim] =
          scale[i / dim] * E4m3(static_cast<uint8_t>(tensor.bytes[i]));
    }
    return result;
  }
  void AddLorc(const std::string& name, ExactLinear& linear) const {
    const Matrix u = LoadFactor(name + ".lorc_u");
    const Matrix v = LoadFactor(name + ".lorc_v");
    for (size_t n = 0; n < u.size(); ++n) {
      for (size_t r = 0; r < v.size(); ++r) {
        for (size_t k = 0; k < v[r].size(); ++k) {
          linear.weight[n][k] += u[n][r] * v[r][k];
        }
      }
    }
  }

  // Section 2 and 8: low nibble first; S_row 2^-shift or a scale of its own.
  Matrix LoadE2m1(const std::string& name, const EditableTensor& packed) const {
    const size_t group =
        checkpoint_.config["quantization_config"]["weights"]["group_size"];
    const bool free = checkpoint_.tensors.contains(name + ".weight_scale");
    // The real k is that of the layer's input, of which k is even here.
    const size_t dim = 2 * static_cast<size_t>(packed.shape[1]);
    const size_t groups = (dim + group - 1) / group;
    Matrix result;
    for (size_t n = 0; n < static_cast<size_t>(packed.shape[0]); ++n) {
      std::vector<double> row(dim);
      for (size_t k = 0; k < dim; ++k) {
        const size_t g = n * groups + k / group;
        const double scale =
            free ? FloatAt(At(name + ".weight_scale"), g)
                 : std::ldexp(FloatAt(At(name + ".weight_row_scale"), n),
                              -int{static_cast<uint8_t>(
                                  At(name + ".weight_shift").bytes[g])});
        const int byte = static_cast<uint8_t>(packed.bytes[(n * dim + k) / 2]);
        row[k] = scale * E2m1(k % 2 == 0 ? byte & 15 : byte >> 4);
      }
      result.push_back(row);
    }
    return result;
  }

  // The nearest e4m3 value, ties to even; records the margin.
  double RoundE4m3(double x) {
    const double magnitude = std::fabs(x);
    const int exponent =
        std::max(magnitude == 0 ? -6 : std::ilogb(magnitude), -6);
    const double step = std::ldexp(1.0, exponent - 3);
    const double units = magnitude / step;
    const double from_tie = std::fabs(units - std::floor(units) - 0.5);
    if (magnitude > 0) {
      margin_ = std::min(margin_, from_tie * step / magnitude);
    }
    return std::copysign(std::min(std::nearbyint(units) * step, 448.0), x);
  }

  // Section 3: one scale per token.
  std::vector<double> Quantize(const std::vector<double>& x) {
    double amax = 0;
    for (const double value : x) amax = std::max(amax, std::fabs(value));
    const double scale = amax == 0 ? 1 : amax / 448;
    std::vector<double> result;
    for (const double value : x) {
      // The largest lies at 448 by construction, not at a boundary.
      const bool is_largest = std::fabs(value) == amax;
      result.push_back(is_largest ? value : RoundE4m3(value / scale) * scale);
    }
    return result;
  }

  Matrix Linear(const std::string& name, const Matrix& x) {
    if (!linears_.contains(name)) linears_[name] = Load(name);
    const ExactLinear& linear = linears_[name];
    Matrix y;
    for (const auto& token : x) {
      const auto input = linear.quantized ? Quantize(token) : token;
      std::vector<double> row;
      for (size_t n = 0; n < linear.weight.size(); ++n) {
        double sum = linear.bias.empty() ? 0 : linear.bias[n];
        for (size_t k = 0; k < input.size(); ++k) {
          sum += linear.weight[n][k] * input[k];
        }
        row.push_back(sum);
      }
      y.push_back(row);
    }
    return y;
  }

  Matrix Norm(const std::string& name, const Matrix& x) const {
    const std::vector<double> weight = Vector(name);
    Matrix y = x;
    for (auto& row : y) {
      double squares = 0;
      for (const double value : row) squares += value * value;
      const double root =
          std::sqrt(squares / static_cast<double>(row.size()) + epsilon_);
      for (size_t i = 0; i < row.size(); ++i) row[i] *= weight[i] / root;
    }
    return y;
  }

  // Pair i of a head: elements i and i + head_dim / 2.
  void Rotate(Matrix& x, size_t heads) const {
    const size_t half = head_dim_ / 2;
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t h = 0; h < heads; ++h) {
        for (size_t i = 0; i < half; ++i) {
          const double angle =
              static_cast<double>(t) *
              std::pow(10000.0, -2.0 * static_cast<double>(i) /
                                    static_cast<double>(head_dim_));
          double& a = x[t][h * head_dim_ + i];
          double& b = x[t][h * head_dim_ + i + half];
          const double rotated = a * std::cos(angle) - b * std::sin(angle);
          b = b * std::cos(angle) + a * std::sin(angle);
          a = rotated;
        }
      }
    }
  }

  // Causal softmax attention of one query head at one position.
  std::vector<double> Attend(const Matrix& q, const Matrix& k, const Matrix& v,
                             size_t t, size_t head) const {
    const size_t kv = head / (heads_ / kv_heads_) * head_dim_;
    std::vector<double> weight(t + 1);
    for (size_t s = 0; s <= t; ++s) {
      for (size_t i = 0; i < head_dim_; ++i) {
        weight[s] += q[t][head * head_dim_ + i] * k[s][kv + i];
      }
      weight[s] = std::exp(weight[s] / std::sqrt(head_dim_));
    }
    double sum = 0;
    for (const double w : weight) sum += w;
    std::vector<double> mixed(head_dim_);
    for (size_t s = 0; s <= t; ++s) {
      for (size_t i = 0; i < head_dim_; ++i) {
        mixed[i] += weight[s] / sum * v[s][kv + i];
      }
    }
    return mixed;
  }

  void Layer(int index, Matrix& x) {
    const std::string base = "model.layers." + std::to_string(index) + ".";
    const Matrix in = Norm(base + "input_layernorm.weight", x);
    Matrix q = Linear(base + "self_attn.q_proj", in);
    Matrix k = Linear(base + "self_attn.k_proj", in);
    const Matrix v = Linear(base + "self_attn.v_proj", in);
    Rotate(q, heads_);
    Rotate(k, kv_heads_);
    Matrix mixed(x.size());
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < heads_; ++head) {
        const auto part = Attend(q, k, v, t, head);
        mixed[t].insert(mixed[t].end(), part.begin(), part.end());
      }
    }
    Add(Linear(base + "self_attn.o_proj", mixed), x);
    const Matrix ffn_in = Norm(base + "post_attention_layernorm.weight", x);
    Matrix gate = Linear(base + "mlp.gate_proj", ffn_in);
    const Matrix up = Linear(base + "mlp.up_proj", ffn_in);
    for (size_t t = 0; t < gate.size(); ++t) {
      for (size_t i = 0; i < gate[t].size(); ++i) {
        gate[t][i] = gate[t][i] / (1 + std::exp(-gate[t][i])) * up[t][i];
      }
    }
    Add(Linear(base + "mlp.down_proj", gate), x);
  }

  static void Add(const Matrix& y, Matrix& x) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
    }
  }

  const EditableCheckpoint& checkpoint_;
  double least_margin_;
  std::map<std::string, ExactLinear> linears_;  // those used so far
  size_t heads_, kv_heads_, head_dim_;
  int layers_;
  double epsilon_;
  double margin_ = 1;
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_EXACT_FORWARD_H_
