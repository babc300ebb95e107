/* kinds.c: see kinds.h. */
#include "kinds.h"

#include <stdio.h>

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static const kp_shown shown[KP_N_METRICS] = {
    [KP_METRIC_AGENT_STEP] = { "step", "", 1, 0, "" },
    [KP_METRIC_RETURN] = { "return_mean", "training return", 1, 2,
                           "training return (games finished in a log interval)" },
    [KP_METRIC_EVAL_RETURN] = { "eval_return_mean", "evaluation return", 1, 2,
                                "evaluation (whole games, unclipped)" },
    [KP_METRIC_WEIGHT_L2] = { "weight_l2", "weight norm (l2)", 1, 2, "" },
    [KP_METRIC_SHARE_CLIPPED] = { "percent_clipped", "weights clipped (%)", 100, 2, "" },
    [KP_METRIC_ACCURACY] = { "percent_correct", "online accuracy (%)", 100, 2, "" },
    [KP_METRIC_LOSS] = { "loss", "loss (nats)", 1, 3, "" },
    [KP_METRIC_PLASTICITY] = { "plasticity", "plasticity", 1, 3, "" },
    [KP_METRIC_DEAD_UNITS] = { "percent_dead", "dead units (%)", 100, 2, "" },
    [KP_METRIC_DISTANCE] = { "distance_from_init", "distance from initial weights (l2)", 1, 2, "" },
    [KP_METRIC_EFFECTIVE_RANK] = { "effective_rank", "effective rank (share of the most)", 1, 3,
                                   "" },
};

const kp_shown *kp_shown_of(kp_metric metric) { return &shown[metric]; }

static const kp_column dqn_columns[] = {
    { "return", KP_METRIC_EVAL_RETURN, KP_SPAN_LATEST, KP_OF_RUNS_MEAN, 0 },
    { "95% interval", KP_METRIC_EVAL_RETURN, KP_SPAN_LATEST, KP_OF_RUNS_INTERVAL, 0 },
    { "median", KP_METRIC_EVAL_RETURN, KP_SPAN_LATEST, KP_OF_RUNS_MEDIAN, 3 },
    { "IQM", KP_METRIC_EVAL_RETURN, KP_SPAN_LATEST, KP_OF_RUNS_IQM, 2 },
    { "weight l2", KP_METRIC_WEIGHT_L2, KP_SPAN_LATEST, KP_OF_RUNS_MEAN, 5 },
    { "clipped %", KP_METRIC_SHARE_CLIPPED, KP_SPAN_LATEST, KP_OF_RUNS_MEAN, 6 },
    { "agent steps", KP_METRIC_AGENT_STEP, KP_SPAN_LATEST, KP_OF_RUNS_LEAST, 4 },
    { "frames", KP_METRIC_AGENT_STEP, KP_SPAN_LATEST, KP_OF_RUNS_LEAST_SECOND, 1 },
};

static const kp_metric dqn_panels[] = { KP_METRIC_EVAL_RETURN, KP_METRIC_WEIGHT_L2,
                                        KP_METRIC_SHARE_CLIPPED };

static const kp_column stream_columns[] = {
    { "accuracy %", KP_METRIC_ACCURACY, KP_SPAN_RUN, KP_OF_RUNS_MEAN, 0 },
    { "95% interval", KP_METRIC_ACCURACY, KP_SPAN_RUN, KP_OF_RUNS_INTERVAL, 0 },
    { "first task", KP_METRIC_ACCURACY, KP_SPAN_FIRST_TASK, KP_OF_RUNS_MEAN, 7 },
    { "last tenth", KP_METRIC_ACCURACY, KP_SPAN_LAST_TASKS, KP_OF_RUNS_MEAN, 8 },
    { "loss", KP_METRIC_LOSS, KP_SPAN_RUN, KP_OF_RUNS_MEAN, 2 },
    { "plasticity", KP_METRIC_PLASTICITY, KP_SPAN_RUN, KP_OF_RUNS_MEAN, 3 },
    { "dead %", KP_METRIC_DEAD_UNITS, KP_SPAN_LAST_TASKS, KP_OF_RUNS_MEAN, 4 },
    { "weight l2", KP_METRIC_WEIGHT_L2, KP_SPAN_LAST_TASKS, KP_OF_RUNS_MEAN, 5 },
    { "clipped %", KP_METRIC_SHARE_CLIPPED, KP_SPAN_LAST_TASKS, KP_OF_RUNS_MEAN, 6 },
    { "samples", KP_METRIC_AGENT_STEP, KP_SPAN_LATEST, KP_OF_RUNS_LEAST, 1 },
};

static const kp_metric stream_panels[] = {
    KP_METRIC_ACCURACY,   KP_METRIC_LOSS,          KP_METRIC_PLASTICITY,     KP_METRIC_WEIGHT_L2,
    KP_METRIC_DEAD_UNITS, KP_METRIC_SHARE_CLIPPED, KP_METRIC_EFFECTIVE_RANK, KP_METRIC_DISTANCE,
};

static const kp_kind kinds[KP_N_ALGORITHMS] = {
    [KP_ALGORITHM_DQN] = {
        .subject = "game",
        .column = dqn_columns, .n_columns = COUNT(dqn_columns),
        .panel = dqn_panels, .n_panels = COUNT(dqn_panels), .n_abreast = 1,
        .step = "agent steps", .step_column = "agent_step",
        .second = "frames", .second_column = "frames",
        .score = "return: mean over runs of each run's latest ",
        .notes = "agent steps, frames: of the run that has come least far\n",
    },
    [KP_ALGORITHM_STREAM] = {
        .subject = "problem",
        .column = stream_columns, .n_columns = COUNT(stream_columns),
        .panel = stream_panels, .n_panels = COUNT(stream_panels), .n_abreast = 2,
        .step = "samples", .step_column = "samples",
        .second = "tasks", .second_column = "tasks",
        .score = "accuracy: of the predictions before each update, over the whole run; mean over runs",
        .notes = "first task, last tenth: accuracy in the first task and in the last tenth of the tasks\n"
                 "loss, plasticity: over the whole run; dead, weight l2, clipped: over the last tenth\n"
                 "samples: of the run that has come least far\n",
    },
};

const kp_kind *kp_kind_of(int algorithm) { return &kinds[algorithm]; }

double kp_kind_steps(const kp_config *c) {
    return (double)(c->algorithm == KP_ALGORITHM_STREAM ? c->train.samples : c->train.agent_steps);
}

double kp_kind_second_per_step(const kp_config *c) {
    return c->algorithm == KP_ALGORITHM_STREAM ? 1.0 / (double)c->stream.task_samples
                                               : c->env.frame_skip;
}

void kp_kind_subject(const kp_config *c, char *text, size_t size) {
    char problem[KP_CONFIG_TEXT];
    kp_config_get(c, kp_key_find("stream.problem"), problem);
    if (c->algorithm == KP_ALGORITHM_STREAM)
        snprintf(text, size, "%.32s, %s", problem, c->data.set);
    else snprintf(text, size, "%s", c->env.game);
}
