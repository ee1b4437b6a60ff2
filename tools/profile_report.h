// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_PROFILE_REPORT_H_
#define ZQFP_TOOLS_PROFILE_REPORT_H_

// The table of zqfp-bench --profile: what every op takes of a step, beside what
// it has to move and to compute.

#include <string>
#include <vector>

#include "kernels/op_profile.h"
#include "models/model.h"
#include "nlohmann/json.hpp"

namespace zqfp::tools {

// What was noted while one phase ran.
struct PhaseProfile {
  int64_t steps = 0;
  double seconds = 0;         // of all steps
  double noting_seconds = 0;  // of these, what the profile itself took
  std::vector<kernels::OpCalls> ops;
};

// Of one step, on average.
struct ProfileRow {
  std::string name;  // "matmul_a8 e2m1 shift gate"; kRestName
  kernels::OpCalls op;
  double calls = 0;
  double seconds = 0;
  double share = 0;  // of the step's time; those of all rows make 1
  double bytes = 0;
  double flop = 0;

  double bytes_per_s() const { return seconds > 0 ? bytes / seconds : 0; }
  double flop_per_s() const { return seconds > 0 ? flop / seconds : 0; }
};

// What the machine can do, to hold the rows against; 0 where it is not known.
struct Ceilings {
  double read_bytes_per_s = 0;
  double multiply_flop_per_s = 0;  // of matmul_a8
};

// The time that is in no op: batches, angles, copies, and the notes.
inline constexpr char kRestName[] = "not in an op";

// The largest first, the rest last.
std::vector<ProfileRow> RowsOf(const PhaseProfile& phase);

// A line for the phase, one for each row, one for the notes.
std::string ProfileText(const std::string& phase_name,
                        const PhaseProfile& phase, const Ceilings& ceilings);
nlohmann::ordered_json ProfileJson(const PhaseProfile& phase,
                                   const Ceilings& ceilings);

// Tells the profile which part of a layer each weight of the model is: qkv, o,
// gate, up, down or head.
void NameParts(Model& model, kernels::OpProfile* profile);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_PROFILE_REPORT_H_
