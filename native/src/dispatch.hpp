// Which instruction sets this build has, which of them this machine can run, and the choice.
#pragma once

#include <string>
#include <vector>

#include "job.hpp"
#include "scan.hpp"

namespace faceflow {

std::vector<std::string> built_levels();      // slowest first
std::vector<std::string> available_levels();  // those this machine can run, slowest first
// A dtype's kernel at the named level, or at the best one for an empty name; a level without a
// kernel of its own for that dtype uses the next lower one's. Throws std::invalid_argument for a
// level this machine cannot run.
const Format& choose(Dtype dtype, const std::string& level);
ScanKernel choose_scan(const std::string& level);  // likewise, for stage 1
const ContributionKernel& choose_contribution(const std::string& level);

}  // namespace faceflow
