/* presets.c: the presets in the program. A preset is a file of presets/, a line here and one in
 * CMakeLists.txt. */
#include "config.h"

#define PRESETS(X)                                                                                 \
    X(dqn_dopamine, "dqn-dopamine")                                                                \
    X(dqn_tianshou, "dqn-tianshou")                                                                \
    X(dqn_paper, "dqn-paper")                                                                      \
    X(dqn_cleanrl, "dqn-cleanrl")                                                                  \
    X(stream_input_permuted_mnist, "stream-input-permuted-mnist")                                  \
    X(stream_input_permuted_fashion, "stream-input-permuted-fashion")                              \
    X(stream_label_permuted_emnist, "stream-label-permuted-emnist")                                \
    X(stream_label_permuted_mini_imagenet, "stream-label-permuted-mini-imagenet")

#define DECLARE(symbol, name) extern const unsigned char kp_preset_##symbol[];
PRESETS(DECLARE)

#define ROW(symbol, name) { name, (const char *)kp_preset_##symbol },
static const kp_preset presets[] = { PRESETS(ROW) };

int kp_n_presets(void) { return (int)(sizeof presets / sizeof *presets); }
const kp_preset *kp_preset_at(int i) { return &presets[i]; }
