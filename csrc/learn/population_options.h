/* population_options.h: checks of kappa/population.h's options, before anything is taken. */
#pragma once
#include "kappa/population.h"

/* KP_BAD_CONFIG names the first field that is out of range. */
kp_status kp_population_options_check(const kp_population_options *options, kp_err *err);

/* The same for one member; its number is for the message. */
kp_status kp_member_options_check(const kp_member_options *options, int member, kp_err *err);
