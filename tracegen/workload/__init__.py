"""The clients: what they ask (mix), how (connection, native), what they remember (client), the last look (final)."""
