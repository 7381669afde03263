"""Open-set recognition with class anchors: data, methods, training, scores and metrics. No Streamlit in here."""
