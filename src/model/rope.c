#include "model/rope.h"

#include <math.h>

static const double two_pi = 6.283185307179586476925286766559;

/* Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
static double llama3_frequency(const struct rope_config *rope, double frequency)
{
	double wavelength = two_pi / frequency;
	double original = (double)rope->original_max_positions;
	double long_wavelength = original / rope->low_freq_factor;
	double short_wavelength = original / rope->high_freq_factor;
	if (wavelength < short_wavelength)
		return frequency;
	if (wavelength > long_wavelength)
		return frequency / rope->factor;
	double smooth = (original / wavelength - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
	return (1 - smooth) * frequency / rope->factor + smooth * frequency;
}

/* Dynamic NTK (u/emozilla): a larger theta stretches the long wavelengths to the sequence's length. */
static double dynamic_theta(const struct rope_config *rope, int64_t rotary_dim, int64_t n_positions)
{
	double dim = (double)rotary_dim, length = (double)(n_positions ? n_positions : rope->original_max_positions);
	double stretch = rope->factor * length / (double)rope->original_max_positions - (rope->factor - 1);
	return rope->theta * pow(stretch, dim / (dim - 2));
}

/* Where a dimension turns `turns` times within the original positions. */
static double yarn_dimension(const struct rope_config *rope, int64_t rotary_dim, double turns)
{
	return (double)rotary_dim * log((double)rope->original_max_positions / (turns * two_pi)) / (2 * log(rope->theta));
}

/* YaRN (Peng et al., 2023): dimensions that turn often are kept, those that turn seldom are stretched, those between are
 * blended along a ramp. */
static double yarn_frequency(const struct rope_config *rope, int64_t rotary_dim, int64_t i, double frequency)
{
	double low = yarn_dimension(rope, rotary_dim, rope->beta_fast);
	double high = yarn_dimension(rope, rotary_dim, rope->beta_slow);
	low = fmax(rope->truncate ? floor(low) : low, 0);
	high = fmin(rope->truncate ? ceil(high) : high, (double)(rotary_dim - 1));
	if (low == high)
		high += 0.001;
	double stretched = fmin(fmax(((double)i - low) / (high - low), 0), 1);
	return frequency / rope->factor * stretched + frequency * (1 - stretched);
}

double rope_yarn_magnitude(double factor, double scale)
{
	return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

double rope_longrope_magnitude(double factor, int64_t original_max_positions)
{
	return factor <= 1 ? 1 : sqrt(1 + log(factor) / log((double)original_max_positions));
}

int64_t rope_variant(const struct rope_config *rope, int64_t n_positions)
{
	if (!rope_varies(rope) || n_positions <= rope->original_max_positions)
		return 0;
	return rope->type == ROPE_DYNAMIC ? n_positions : 1;
}

void rope_frequencies(const struct rope_config *rope, int64_t rotary_dim, int64_t variant, const float *divisors,
                      float *frequencies)
{
	double theta = rope->type == ROPE_DYNAMIC ? dynamic_theta(rope, rotary_dim, variant) : rope->theta;
	for (int64_t i = 0; i < rotary_dim / 2; i++) {
		double frequency = 1.0 / pow(theta, (double)(2 * i) / (double)rotary_dim);
		switch (rope->type) {
		case ROPE_DEFAULT:
		case ROPE_DYNAMIC:
			break;
		case ROPE_LINEAR:
			frequency /= rope->factor;
			break;
		case ROPE_LLAMA3:
			frequency = llama3_frequency(rope, frequency);
			break;
		case ROPE_YARN:
			frequency = yarn_frequency(rope, rotary_dim, i, frequency);
			break;
		case ROPE_LONGROPE: /* Ding et al., 2024 */
			frequency /= (double)rope->factors[variant][i];
			break;
		}
		frequencies[i] = (float)(divisors ? frequency / (double)divisors[i] : frequency);
	}
}

void rope_angles(const struct rope_config *rope, const float *frequencies, int64_t n_frequencies, int64_t position,
                 float *cosines, float *sines)
{
	float factor = (float)rope->attention_factor;
	for (int64_t i = 0; i < n_frequencies; i++) {
		float angle = (float)position * frequencies[i];
		cosines[i] = cosf(angle) * factor;
		sines[i] = sinf(angle) * factor;
	}
}
