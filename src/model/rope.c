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

void rope_frequencies(const struct rope_config *rope, int64_t head_dim, const float *divisors, float *frequencies)
{
	for (int64_t i = 0; i < head_dim / 2; i++) {
		double frequency = 1.0 / pow(rope->theta, (double)(2 * i) / (double)head_dim);
		switch (rope->type) {
		case ROPE_DEFAULT:
			break;
		case ROPE_LINEAR:
			frequency /= rope->factor;
			break;
		case ROPE_LLAMA3:
			frequency = llama3_frequency(rope, frequency);
			break;
		}
		frequencies[i] = (float)(divisors ? frequency / (double)divisors[i] : frequency);
	}
}

void rope_angles(const float *frequencies, int64_t n_frequencies, int64_t position, float *cosines, float *sines)
{
	for (int64_t i = 0; i < n_frequencies; i++) {
		float angle = (float)position * frequencies[i];
		cosines[i] = cosf(angle);
		sines[i] = sinf(angle);
	}
}
