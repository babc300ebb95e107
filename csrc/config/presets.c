/* presets.c: the presets in the program. A preset is a file of presets/, a line here and one in
 * CMakeLists.txt. */
#include "config.h"

extern const unsigned char kp_preset_dqn_dopamine[], kp_preset_dqn_tianshou[],
    kp_preset_dqn_paper[], kp_preset_dqn_cleanrl[];

enum { N_PRESETS = 4 };

int kp_n_presets(void) { return N_PRESETS; }

const kp_preset *kp_preset_at(int i) {
    static const kp_preset presets[N_PRESETS] = {
        { "dqn-dopamine", (const char *)kp_preset_dqn_dopamine },
        { "dqn-tianshou", (const char *)kp_preset_dqn_tianshou },
        { "dqn-paper", (const char *)kp_preset_dqn_paper },
        { "dqn-cleanrl", (const char *)kp_preset_dqn_cleanrl },
    };
    return &presets[i];
}
