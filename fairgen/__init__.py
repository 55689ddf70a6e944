"""FairGen: text-to-image diffusion in the distribution that you prescribe."""
