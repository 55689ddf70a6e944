"""The registry: MLflow's runs and registered models. Nothing else imports mlflow."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
