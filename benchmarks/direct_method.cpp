// The plain yardstick: Gillespie's direct method as a good C++ programmer writes it, one thread, std::mt19937_64.
//
// Every system has its propensities and its changes written by hand; all propensities are recomputed after each event and the
// reaction is found by linear search. Counts at the output times are kept in memory, as in every program compared with it.
//
//   direct_method SYSTEM NUM_PATHS SEED HORIZON NUM_TIMES PARAMETER...
//   -> one line: seconds of the simulation loop, events of all paths, sum over paths of their events squared, most events of a
//      path, and for every output time and species (species fastest) the mean and the variance over paths
//
// Parameters come in the order of each struct's fields; benchmarks/systems.py holds their values.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

template <int Species>
using Counts = std::array<double, Species>;

struct Sir {
  static constexpr int species = 3, reactions = 2, parameters = 2;
  static constexpr Counts<3> start{990, 10, 0};
  double infection, recovery;
  explicit Sir(const double* k) : infection(k[0]), recovery(k[1]) {}
  void propensities(const Counts<3>& x, double* a) const {
    a[0] = infection * x[0] * x[1];
    a[1] = recovery * x[1];
  }
  static void fire(int reaction, Counts<3>& x) {
    switch (reaction) {
      case 0: x[0] -= 1; x[1] += 1; break;
      case 1: x[1] -= 1; x[2] += 1; break;
    }
  }
};

struct Dimerisation {
  static constexpr int species = 2, reactions = 4, parameters = 4;
  static constexpr Counts<2> start{0, 0};
  double birth, death, dimerisation, dissociation;
  explicit Dimerisation(const double* k) : birth(k[0]), death(k[1]), dimerisation(k[2]), dissociation(k[3]) {}
  void propensities(const Counts<2>& x, double* a) const {
    a[0] = birth;
    a[1] = death * x[0];
    a[2] = dimerisation * 0.5 * x[0] * (x[0] - 1);
    a[3] = dissociation * x[1];
  }
  static void fire(int reaction, Counts<2>& x) {
    switch (reaction) {
      case 0: x[0] += 1; break;
      case 1: x[0] -= 1; break;
      case 2: x[0] -= 2; x[1] += 1; break;
      case 3: x[0] += 2; x[1] -= 1; break;
    }
  }
};

struct Repressilator12 {  // species M1 M2 M3 P1 P2 P3
  static constexpr int species = 6, reactions = 12, parameters = 6;
  static constexpr Counts<6> start{0, 0, 0, 20, 0, 0};
  double leak, transcription, threshold, mrna_decay, translation, protein_decay;
  explicit Repressilator12(const double* k)
      : leak(k[0]), transcription(k[1]), threshold(k[2]), mrna_decay(k[3]), translation(k[4]), protein_decay(k[5]) {}
  void propensities(const Counts<6>& x, double* a) const {
    for (int gene = 0; gene < 3; ++gene) {
      const double ratio = x[3 + (gene + 2) % 3] / threshold;
      a[4 * gene] = leak + transcription / (1 + ratio * ratio);
      a[4 * gene + 1] = mrna_decay * x[gene];
      a[4 * gene + 2] = translation * x[gene];
      a[4 * gene + 3] = protein_decay * x[3 + gene];
    }
  }
  static void fire(int reaction, Counts<6>& x) {
    const int gene = reaction / 4;
    switch (reaction % 4) {
      case 0: x[gene] += 1; break;
      case 1: x[gene] -= 1; break;
      case 2: x[3 + gene] += 1; break;
      case 3: x[3 + gene] -= 1; break;
    }
  }
};

struct HillRepressilator {  // species P1 P2 P3
  static constexpr int species = 3, reactions = 6, parameters = 3;
  static constexpr Counts<3> start{25, 0, 0};
  double production, decay, threshold;
  explicit HillRepressilator(const double* k) : production(k[0]), decay(k[1]), threshold(k[2]) {}
  void propensities(const Counts<3>& x, double* a) const {
    for (int gene = 0; gene < 3; ++gene) {
      const double ratio = x[(gene + 2) % 3] / threshold;
      a[2 * gene] = production / (1 + ratio * ratio * ratio);
      a[2 * gene + 1] = decay * x[gene];
    }
  }
  static void fire(int reaction, Counts<3>& x) { x[reaction / 2] += reaction % 2 ? -1 : 1; }
};

struct PromoterRepressilator {  // species P1 P2 P3, then G_{i,0} G_{i,1} G_{i,2} of promoters i = 1, 2, 3
  static constexpr int species = 12, reactions = 18, parameters = 5;
  static constexpr Counts<12> start{25, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0};
  double production, decay, binding, unbinding, unbinding_two;
  explicit PromoterRepressilator(const double* k)
      : production(k[0]), decay(k[1]), binding(k[2]), unbinding(k[3]), unbinding_two(k[4]) {}
  void propensities(const Counts<12>& x, double* a) const {
    for (int gene = 0; gene < 3; ++gene) {
      const double* promoter = &x[3 + 3 * gene];
      const double attach = binding * x[(gene + 2) % 3];
      a[6 * gene] = attach * promoter[0];
      a[6 * gene + 1] = attach * promoter[1];
      a[6 * gene + 2] = unbinding * promoter[1];
      a[6 * gene + 3] = unbinding_two * promoter[2];
      a[6 * gene + 4] = production * promoter[0];
      a[6 * gene + 5] = decay * x[gene];
    }
  }
  static void fire(int reaction, Counts<12>& x) {
    const int gene = reaction / 6, repressor = (gene + 2) % 3;
    double* promoter = &x[3 + 3 * gene];
    switch (reaction % 6) {
      case 0: x[repressor] -= 1; promoter[0] -= 1; promoter[1] += 1; break;
      case 1: x[repressor] -= 1; promoter[1] -= 1; promoter[2] += 1; break;
      case 2: x[repressor] += 1; promoter[1] -= 1; promoter[0] += 1; break;
      case 3: x[repressor] += 1; promoter[2] -= 1; promoter[1] += 1; break;
      case 4: x[gene] += 1; break;
      case 5: x[gene] -= 1; break;
    }
  }
};

struct Work {
  long num_paths;
  std::uint64_t seed;
  double horizon;
  int num_times;
};

// Uniform on (0, 1): never 0, so the waiting time is always finite.
inline double uniform(std::mt19937_64& generator) {
  return (static_cast<double>(generator() >> 12) + 0.5) * 0x1p-52;
}

template <class System>
long simulate_path(const System& system, const Work& work, std::mt19937_64& generator, float* row) {
  auto x = System::start;
  double a[System::reactions], t = 0;
  const double step = work.horizon / (work.num_times - 1);
  int next = 0;
  long events = 0;
  for (;;) {
    system.propensities(x, a);
    double total = 0;
    for (double propensity : a) total += propensity;
    t = total > 0 ? t - std::log(uniform(generator)) / total : INFINITY;
    for (; next < work.num_times && next * step < t; ++next, row += System::species)
      for (int s = 0; s < System::species; ++s) row[s] = static_cast<float>(x[s]);
    if (next == work.num_times) return events;
    double left = uniform(generator) * total - a[0];
    int reaction = 0;
    while (left >= 0 && reaction < System::reactions - 1) left -= a[++reaction];
    System::fire(reaction, x);
    ++events;
  }
}

template <class System>
int run(const Work& work, const double* parameters) {
  const System system(parameters);
  std::mt19937_64 generator(work.seed);
  const std::size_t width = static_cast<std::size_t>(work.num_times) * System::species;
  std::vector<float> counts(work.num_paths * width);
  std::vector<long> events(work.num_paths);
  const auto begin = std::chrono::steady_clock::now();
  for (long path = 0; path < work.num_paths; ++path)
    events[path] = simulate_path(system, work, generator, &counts[path * width]);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;

  double sum = 0, squares = 0, most = 0;
  for (long n : events) sum += n, squares += static_cast<double>(n) * n, most = std::max<double>(most, n);
  std::printf("%.9g %.17g %.17g %.17g", elapsed.count(), sum, squares, most);
  for (std::size_t column = 0; column < width; ++column) {
    double mean = 0, square = 0;
    for (long path = 0; path < work.num_paths; ++path) {
      const double value = counts[path * width + column];
      mean += value;
      square += value * value;
    }
    mean /= work.num_paths;
    std::printf(" %.12g %.12g", mean, square / work.num_paths - mean * mean);
  }
  std::printf("\n");
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 6) return std::fprintf(stderr, "usage: direct_method SYSTEM NUM_PATHS SEED HORIZON NUM_TIMES PARAMETER...\n"), 2;
  const std::string name = argv[1];
  const Work work{std::atol(argv[2]), std::strtoull(argv[3], nullptr, 10), std::atof(argv[4]), std::atoi(argv[5])};
  std::vector<double> parameters;
  for (int i = 6; i < argc; ++i) parameters.push_back(std::atof(argv[i]));
  const auto has = [&](int number) { return static_cast<int>(parameters.size()) == number; };
  if (name == "SIR" && has(Sir::parameters)) return run<Sir>(work, parameters.data());
  if (name == "BDD" && has(Dimerisation::parameters)) return run<Dimerisation>(work, parameters.data());
  if (name == "REP12" && has(Repressilator12::parameters)) return run<Repressilator12>(work, parameters.data());
  if (name == "HILL" && has(HillRepressilator::parameters)) return run<HillRepressilator>(work, parameters.data());
  if (name == "PROM" && has(PromoterRepressilator::parameters)) return run<PromoterRepressilator>(work, parameters.data());
  return std::fprintf(stderr, "unknown system or wrong number of parameters: %s\n", name.c_str()), 2;
}
