"""Why a model leaks and which samples did it: residual stream, privacy direction, scores of training samples."""
