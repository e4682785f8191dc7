// Every operator that backlot's networks are made of, as a kernel: run through the layers that the
// networks run through. Shape letters: B batch, C channels, H and W map, L tokens, T tokens
// attended to, K width of a head.
#pragma once

#include "nn/attention.h"
#include "nn/norm.h"
#include "probe/kernel.h"

namespace backlot::operators {

struct MapShape {
  int64_t batch, channels, height, width;
};

Kernel conv(const MapShape& in, int64_t out, ConvShape shape = {});
Kernel conv1x1(const MapShape& in, int64_t out);
Kernel group_norm(const MapShape& x, int64_t groups);
Kernel group_norm_silu(const MapShape& x, int64_t groups);
Kernel upsample(const MapShape& x, int64_t height, int64_t width);  // nearest neighbour
Kernel concatenate(const MapShape& a, int64_t more_channels);
Kernel add_time(const MapShape& x);  // a value a channel, in place
Kernel add(const MapShape& x);       // a map, in place

struct TokenShape {
  int64_t batch, tokens, width;
};

// `kind` says which of a network's layers it is: "linear_qkv".
Kernel linear(std::string kind, const TokenShape& x, int64_t out, Bias bias = Bias::learned);
Kernel layer_norm(const TokenShape& x);
Kernel rms_norm(const TokenShape& x);
Kernel add(const TokenShape& x);

enum class Gate { gelu, silu };

// x: [B, L, 2 N] -> [B, L, N], one half through the gate times the other
Kernel gated(Gate gate, const TokenShape& x);

enum class Activation { gelu, gelu_tanh, quick_gelu };
Kernel activation(Activation kind, const TokenShape& x);

Kernel self_attention(const TokenShape& x, int64_t heads, Mask mask = Mask::none);
Kernel cross_attention(const TokenShape& x, int64_t heads, int64_t attended);

// Several heads share keys and values. `attended` is the length with what came before; L tokens at
// its end ask, each for what is not after it.
struct GroupedHeads {
  int64_t heads, key_heads, width;
};
Kernel grouped_attention(int64_t batch, int64_t tokens, int64_t attended,
                         const GroupedHeads& heads);

// With a number added to each score, as T5 says distances.
Kernel biased_attention(const TokenShape& x, int64_t heads);

}  // namespace backlot::operators
