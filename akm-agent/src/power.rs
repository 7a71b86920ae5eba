//! `pow`, so that the programs do not load libm for it.
//!
//! tokio averages with it how long tasks take, in a scheduler of several threads that no program of akm starts but
//! that is linked into each, because zbus asks for it; and every `akm get` would wait for libm.

#![allow(unsafe_code)]

/// As the C library defines it.
// SAFETY: the name, the parameters and the result are those of C's `pow`, and so is what it computes.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_computes_what_everybody_else_does() {
        let power = |base: f64, exponent: f64| super::pow(base, exponent);
        for (base, exponent, expected) in [
            (2.0, 10.0, 1024.0),
            (9.0, 0.5, 3.0),
            (0.1, 3.0, 0.001),
            (0.9, 128.0, 1.390_084_523_771_451_7e-6),
            (-2.0, 3.0, -8.0),
            (5.0, 0.0, 1.0),
        ] {
            let found = power(base, exponent);
            assert!(
                (found - expected).abs() <= f64::EPSILON * expected.abs(),
                "{base}^{exponent} = {found}"
            );
        }
        assert!(power(-2.0, 0.5).is_nan());
    }
}
