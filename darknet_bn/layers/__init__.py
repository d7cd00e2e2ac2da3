"""Every kind of layer, declared once each."""
