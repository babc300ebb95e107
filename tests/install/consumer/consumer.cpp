// consumer.cpp: kappa.h from C++: one step; prints the loss.
#include <kappa/kappa.h>

#include <cstdio>
#include <vector>

int main() {
    const int width[] = { 3, 1 };
    kp_member_options member;
    kp_member_options_init(&member);
    kp_population_options options;
    kp_population_options_init(&options);
    options.B = 4, options.n_inputs = 2, options.n_layers = 2, options.width = width;
    options.loss = KP_SQUARED_ERROR, options.rule = KP_RULE_SGD, options.member = &member;

    kp_population *pop = nullptr;
    kp_err err = {};
    std::vector<float> x(8, 0.5f), target(4, 1.0f);
    float loss = 0;
    kp_status st = kp_population_open(&pop, &options, &err);
    kp_batch batch = {};
    batch.x = x.data(), batch.target = target.data();
    if (st == KP_OK) st = kp_population_step(pop, &batch, &loss, &err);
    if (st != KP_OK) std::fprintf(stderr, "consumer: %s\n", err.text);
    else std::printf("kappa " KP_VERSION ": loss %.9g\n", static_cast<double>(loss));
    kp_population_close(pop);
    return st;
}
