// Drawing a composed picture with Cairo, to PNG or SVG by the extension of the path.
#include <cairo-svg.h>
#include <cairo.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

#include "tools/picture.hpp"
#include "tools/replaced_file.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr const char* kFont = "sans-serif";
constexpr double kHaloShare =
    0.22;  // Width of the halo around a label, as a share of the text's height.
constexpr Color kGround{0.043, 0.055, 0.086, 1.0};
constexpr Color kGroundLight{0.086, 0.106, 0.157, 1.0};
constexpr Color kText{0.96, 0.97, 1.0, 1.0};
constexpr Color kTextDim{0.64, 0.69, 0.78, 1.0};
// In SVG so many edges of one style share an element, which keeps the file a tenth of the size.
constexpr std::size_t kSvgEdgesPerPath = 24;

enum class Format : std::uint8_t { kUnknown = 0, kPng, kSvg };

struct DestroySurface {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
};
struct DestroyContext {
  void operator()(cairo_t* context) const { cairo_destroy(context); }
};
struct DestroyPattern {
  void operator()(cairo_pattern_t* pattern) const { cairo_pattern_destroy(pattern); }
};
using Surface = std::unique_ptr<cairo_surface_t, DestroySurface>;
using Context = std::unique_ptr<cairo_t, DestroyContext>;
using Pattern = std::unique_ptr<cairo_pattern_t, DestroyPattern>;

Format format_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  if (dot == std::string::npos) return Format::kUnknown;
  std::string extension = path.substr(dot + 1);
  for (char& letter : extension) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  if (extension == "png") return Format::kPng;
  if (extension == "svg") return Format::kSvg;
  return Format::kUnknown;
}

cairo_status_t write_bytes(void* closure, const unsigned char* data, unsigned int length) {
  auto* file = static_cast<ReplacedFile*>(closure);
  const std::string_view bytes(reinterpret_cast<const char*>(data), length);
  return file->write(bytes) ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

void set_color(cairo_t* context, const Color& color) {
  cairo_set_source_rgba(context, color.red, color.green, color.blue, color.alpha);
}

void set_font(cairo_t* context, double size_px, bool bold) {
  cairo_select_font_face(context, kFont, CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(context, size_px);
}

void draw_ground(cairo_t* context, const Picture& picture) {
  const double reach = 0.6 * std::hypot(picture.width_px, picture.height_px);
  const Pattern glow(cairo_pattern_create_radial(0.5 * picture.width_px, 0.5 * picture.height_px,
                                                 0.0, 0.5 * picture.width_px,
                                                 0.5 * picture.height_px, reach));
  cairo_pattern_add_color_stop_rgb(glow.get(), 0.0, kGroundLight.red, kGroundLight.green,
                                   kGroundLight.blue);
  cairo_pattern_add_color_stop_rgb(glow.get(), 1.0, kGround.red, kGround.green, kGround.blue);
  cairo_set_source(context, glow.get());
  cairo_paint(context);
}

void draw_edges(cairo_t* context, const Picture& picture, std::size_t edges_per_path) {
  cairo_set_line_width(context, picture.edge_width_px);
  cairo_set_line_cap(context, CAIRO_LINE_CAP_BUTT);
  std::size_t in_path = 0;
  for (std::size_t index = 0; index < picture.edges.size(); ++index) {
    const DrawnEdge& edge = picture.edges[index];
    const Point& source = picture.nodes[edge.source].at;
    const Point& target = picture.nodes[edge.target].at;
    cairo_move_to(context, source.x, source.y);
    cairo_line_to(context, target.x, target.y);
    ++in_path;
    const bool last_of_style =
        index + 1 == picture.edges.size() || picture.edges[index + 1].style != edge.style;
    if (!last_of_style && in_path < edges_per_path) continue;
    set_color(context, picture.edge_styles[edge.style]);
    cairo_stroke(context);
    in_path = 0;
  }
}

void draw_disc(cairo_t* context, const Point& at, double radius_px) {
  cairo_new_path(context);
  cairo_arc(context, at.x, at.y, radius_px, 0.0, 2.0 * std::numbers::pi);
}

void draw_nodes(cairo_t* context, const Picture& picture) {
  for (const NodeIndex index : picture.draw_order) {
    const DrawnNode& node = picture.nodes[index];
    draw_disc(context, node.at, node.radius_px);
    set_color(context, node.color);
    if (node.radius_px < 3.0) {
      cairo_fill(context);
      continue;
    }
    // A dark rim parts overlapping discs.
    cairo_fill_preserve(context);
    cairo_set_source_rgba(context, kGround.red, kGround.green, kGround.blue, 0.7);
    cairo_set_line_width(context, 0.8);
    cairo_stroke(context);
  }
}

// A line from a label to the rim of its node.
void draw_leader(cairo_t* context, const Label& label) {
  const Point from{std::clamp(label.anchor.x, label.box.left, label.box.right),
                   std::clamp(label.anchor.y, label.box.top, label.box.bottom)};
  cairo_move_to(context, from.x, from.y);
  cairo_line_to(context, label.anchor.x, label.anchor.y);
  cairo_set_source_rgba(context, kText.red, kText.green, kText.blue, 0.75);
  cairo_set_line_width(context, 1.4);
  cairo_stroke(context);
}

void draw_label_text(cairo_t* context, const Label& label, double text_px) {
  set_font(context, text_px, true);
  cairo_text_extents_t extents{};
  cairo_text_extents(context, label.text.c_str(), &extents);
  cairo_font_extents_t font{};
  cairo_font_extents(context, &font);
  const double middle_y = 0.5 * (label.box.top + label.box.bottom);
  cairo_new_path(context);
  cairo_move_to(context,
                0.5 * (label.box.left + label.box.right) - 0.5 * extents.width - extents.x_bearing,
                middle_y + 0.5 * (font.ascent - font.descent));
  cairo_text_path(context, label.text.c_str());
  cairo_set_source_rgba(context, kGround.red, kGround.green, kGround.blue, 0.88);
  cairo_set_line_width(context, kHaloShare * text_px);
  cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND);
  cairo_stroke_preserve(context);
  set_color(context, kText);
  cairo_fill(context);
}

void draw_labels(cairo_t* context, const Picture& picture) {
  for (const Label& label : picture.labels) {
    if (label.is_apart) draw_leader(context, label);
  }
  for (const Label& label : picture.labels) {
    draw_disc(context, label.anchor, label.radius_px);
    set_color(context, kText);
    cairo_set_line_width(context, 2.0);
    cairo_stroke(context);
  }
  for (const Label& label : picture.labels) draw_label_text(context, label, picture.text_px);
}

void draw_title(cairo_t* context, const Picture& picture) {
  // A name too long for the picture gets a smaller font, never a cut.
  const auto draw_line = [&](const std::string& text, double size_px, double baseline_px, bool bold,
                             const Color& color) {
    const double left_px = 1.6 * picture.text_px;
    set_font(context, size_px, bold);
    cairo_text_extents_t extents{};
    cairo_text_extents(context, text.c_str(), &extents);
    const double room_px = picture.width_px - 2.0 * left_px;
    if (extents.width > room_px) set_font(context, size_px * room_px / extents.width, bold);
    set_color(context, color);
    cairo_move_to(context, left_px, baseline_px);
    cairo_show_text(context, text.c_str());
    cairo_new_path(context);
  };
  draw_line(picture.title, 1.5 * picture.text_px, 2.4 * picture.text_px, true, kText);
  draw_line(picture.subtitle, picture.text_px, 3.9 * picture.text_px, false, kTextDim);
}

cairo_status_t draw(cairo_surface_t* surface, const Picture& picture, std::size_t edges_per_path) {
  const Context context(cairo_create(surface));
  draw_ground(context.get(), picture);
  draw_edges(context.get(), picture, edges_per_path);
  draw_nodes(context.get(), picture);
  draw_labels(context.get(), picture);
  draw_title(context.get(), picture);
  return cairo_status(context.get());
}

cairo_status_t write_png(const Picture& picture, ReplacedFile& file) {
  const Surface surface(cairo_image_surface_create(
      CAIRO_FORMAT_RGB24, static_cast<int>(picture.width_px), static_cast<int>(picture.height_px)));
  const cairo_status_t drawn = draw(surface.get(), picture, 1);
  if (drawn != CAIRO_STATUS_SUCCESS) return drawn;
  return cairo_surface_write_to_png_stream(surface.get(), write_bytes, &file);
}

cairo_status_t write_svg(const Picture& picture, ReplacedFile& file) {
  const Surface surface(
      cairo_svg_surface_create_for_stream(write_bytes, &file, picture.width_px, picture.height_px));
  cairo_svg_surface_set_document_unit(surface.get(), CAIRO_SVG_UNIT_PX);
  const cairo_status_t drawn = draw(surface.get(), picture, kSvgEdgesPerPath);
  cairo_surface_finish(surface.get());
  return drawn != CAIRO_STATUS_SUCCESS ? drawn : cairo_surface_status(surface.get());
}

}  // namespace

TextSize measure_label(const std::string& text, double text_px) {
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1));
  const Context context(cairo_create(surface.get()));
  set_font(context.get(), text_px, true);
  cairo_text_extents_t extents{};
  cairo_text_extents(context.get(), text.c_str(), &extents);
  cairo_font_extents_t font{};
  cairo_font_extents(context.get(), &font);
  // One pixel more than the halo needs, for the rounding of glyph positions.
  const double halo_px = kHaloShare * text_px + 2.0;
  return {extents.width + halo_px, font.ascent + font.descent + halo_px};
}

FileStatus check_picture_path(const std::string& path) {
  if (format_of(path) == Format::kUnknown) {
    return FileError{FileErrorCode::kUnknownExtension,
                     printable_text(path) +
                         ": the extension names no picture format; end the path in .png or .svg"};
  }
  return check_writable(path);
}

FileStatus write_picture(const std::string& path, const Picture& picture) {
  if (FileStatus failure = check_picture_path(path)) return failure;
  ReplacedFile file(path);
  const cairo_status_t status =
      format_of(path) == Format::kPng ? write_png(picture, file) : write_svg(picture, file);
  // A failed write is the file's to explain; any other status is Cairo's.
  if (status != CAIRO_STATUS_SUCCESS && status != CAIRO_STATUS_WRITE_ERROR) {
    return FileError{FileErrorCode::kUnwritable,
                     printable_text(path) + ": the picture cannot be drawn (" +
                         cairo_status_to_string(status) + "); try a smaller picture"};
  }
  return file.finish();
}

}  // namespace ackbus::tools
